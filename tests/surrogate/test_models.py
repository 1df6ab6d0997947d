"""Models: known laws found, unknown values skipped, the published graph equal to the fitted one."""

import json
import random
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import surrogate_campaign as synthetic

from wattproof import surrogate
from wattproof.surrogate import export, models, neural
from wattproof.surrogate.curves import tabulate
from wattproof.surrogate.learning import Choice, Learner
from wattproof.surrogate.models import Linear, Scaler

NAMES = [f"c{number}" for number in range(6)]


def data(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and two outputs of which one is unknown in a few rows."""
    rng = np.random.default_rng(0)
    static = rng.normal(size=(n, 6)) * [1, 10, 1, 1, 1, 0] + [0, 5, 0, 0, 0, 7]
    first = np.maximum(static[:, 0], static[:, 2]) + 0.1 * static[:, 1]
    second = static[:, 0] * static[:, 3]
    second[:20] = np.nan
    return static, np.stack([first, second], axis=1)


def fit(family: str, seed: int = 3) -> tuple[Scaler, models.Fitted, np.ndarray]:
    static, targets = data()
    scaler = Scaler.of(static)
    matrix = scaler.apply(static)
    fitted = models.fit_family(family, matrix, targets, np.arange(300) // 2, 20, seed)
    return scaler, fitted, np.random.default_rng(9).normal(size=(50, 6)) * 3


@pytest.mark.parametrize("family", models.FAMILIES)
def test_the_graph_answers_what_was_fitted(family: str) -> None:
    scaler, fitted, fresh = fit(family)
    weights = Linear(np.array([0.25, 0.75]), np.full((6, 2), 0.5))
    content = export.to_onnx(scaler, {"accuracy": fitted, "cost": fitted}, weights, NAMES, "abc")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(["accuracy", "cost", "weights"], {"x": fresh.astype(np.float32)})
    matrix = scaler.apply(fresh)
    expected = fitted.predict(matrix)
    assert expected.shape == ((neural.MEMBERS if family == "neural" else 1), 50, 2)
    assert found[0].transpose(1, 0, 2) == pytest.approx(expected, abs=2e-5, rel=2e-5)
    assert np.array_equal(found[0], found[1])
    assert found[2] == pytest.approx(weights.predict(matrix), abs=1e-5)
    about = session.get_modelmeta().custom_metadata_map
    assert about["encoding"] == "abc"
    assert json.loads(about["columns"]) == NAMES


@pytest.mark.parametrize("family", models.FAMILIES)
def test_equal_fits_give_equal_bytes_and_leave_global_randomness_alone(family: str) -> None:
    states = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (
        export.to_onnx(scaler, {"cost": fitted}, None, NAMES, "abc")
        for scaler, fitted, _ in (fit(family), fit(family))
    )
    assert first == second
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    # A converter's set, in the order of strings' hashes, would be another in each tenth process.
    assert [entry.domain for entry in onnx.load_from_string(first).opset_import] == [
        *("", "ai.onnx.ml")
    ]


def test_networks_learn_what_a_line_cannot() -> None:
    static, targets = data(600)
    scaler = Scaler.of(static[:400])
    matrix = scaler.apply(static)
    error = {}
    for family in ("linear", "neural"):
        fitted = models.fit_family(family, matrix[:400], targets[:400], np.arange(400), 20, 0)
        rest = fitted.predict(matrix[400:]).mean(axis=0) - targets[400:]
        error[family] = np.sqrt((rest**2).mean(axis=0))
    assert (error["neural"] < error["linear"] / 3).all()


def test_members_disagree_more_where_nothing_was_trained() -> None:
    scaler, fitted, _ = fit("neural")
    near, far = np.array([0, 5, 0, 0, 0, 7.0]), np.array([30, 300, 30, 30, 30, 7.0])
    spread = [fitted.predict(scaler.apply(x[None])).std(axis=0).max() for x in (near, far)]
    assert spread[1] > 5 * spread[0]


def test_ridge_finds_a_known_line_beside_unknown_values() -> None:
    rng = np.random.default_rng(1)
    matrix = (rng.normal(size=(400, 3)) * [1, 10, 0] + [0, 5, 7]).astype(np.float32)
    line = 2.0 + 3.0 * matrix[:, 0] - 0.5 * matrix[:, 1]
    other = np.where(np.arange(400) < 40, np.nan, 1.0 - matrix[:, 0])
    found = models.fit_ridge(matrix, np.stack([line, other], axis=1), np.arange(400) // 4)
    assert found.coefficients[:, 0] == pytest.approx([3.0, -0.5, 0.0], abs=0.01)
    assert found.coefficients[:, 1] == pytest.approx([-1.0, 0.0, 0.0], abs=0.01)
    assert found.intercept == pytest.approx([2.0, 1.0], abs=0.05)


def test_counted_cost_is_in_order() -> None:
    cost = {family: fit(family)[1].operations for family in models.FAMILIES}
    assert cost["mean"] == 0
    assert cost["linear"] == 12
    assert cost["linear"] < cost["neural"]
    assert cost["linear+trees"] > cost["trees"] > 20 * 2 * models.VISIT


def test_the_chosen_family_is_the_cheap_one_where_errors_tie(tmp_path: Path) -> None:
    """A campaign without any law: nothing beats the mean, so the mean is published."""
    found = synthetic.make(runs=25, replicates=0)
    rng = np.random.default_rng(0)
    curves = found.curves.assign(
        node_energy_j=rng.lognormal(5.0, 0.2, len(found.curves)),
        gpu_energy_j=rng.lognormal(4.0, 0.2, len(found.curves)),
        time_s=rng.lognormal(1.0, 0.2, len(found.curves)),
    )
    scores = surrogate.fit(found.dataset, curves, synthetic.SETTINGS, tmp_path).scores
    assert set(scores[scores["chosen"] & (scores["target"] == "energy_j")]["model"]) == {"mean"}


def test_networks_are_published_and_answer_what_was_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fitted, stored, loaded: the predictor's values are those of the models in memory."""
    monkeypatch.setattr(neural, "PASSES", 50)
    monkeypatch.setattr(neural, "STEPS", 50)
    found = synthetic.make(runs=24, replicates=0)
    settings = synthetic.SETTINGS | {"families": ["neural"], "folds": 2}
    surrogate.fit(found.dataset, found.curves, settings, tmp_path)
    files = {name: (tmp_path / name).read_bytes() for name in surrogate.FILES}
    predictor = surrogate.Predictor(files)
    assert set(predictor.families.values()) <= {"mean", "neural"}
    assert predictor.families["energy_j"] == "neural"
    table = tabulate(found.dataset, found.curves)
    learner = Learner(table, settings)
    curve = json.loads(files["surrogate.json"])["models"]["energy_j"]["curve"]
    part = learner.learn("cost", Choice("neural", curve), np.ones(24, dtype=bool))
    cells = learner.group_cells("cost")
    value, spread = learner.predict("cost", part, cells)
    answer = predictor.answer(table.static[cells.run], cells.epoch, cells.epochs)
    for column, name in enumerate(cells.targets):
        assert answer.value[name] == pytest.approx(np.exp(value[:, column]), rel=1e-4)
        assert answer.model[name] == pytest.approx(spread[:, column], abs=1e-4)
