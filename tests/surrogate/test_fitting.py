"""Fitting on a campaign with a known law: ranks, honest coverage, no leakage, same bytes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import surrogate_campaign as synthetic
from hypothesis import given
from hypothesis import strategies as st

from wattproof import space, surrogate
from wattproof.errors import WattproofError
from wattproof.surrogate import fitting, models, scoring
from wattproof.surrogate.curves import tabulate


@pytest.fixture(scope="module")
def campaign() -> synthetic.Campaign:
    return synthetic.make()


@pytest.fixture(scope="module")
def fitted(
    campaign: synthetic.Campaign, tmp_path_factory: pytest.TempPathFactory
) -> tuple[pd.DataFrame, Path]:
    out = tmp_path_factory.mktemp("fit")
    return surrogate.fit(campaign.dataset, campaign.curves, synthetic.SETTINGS, out), out


def published(scores: pd.DataFrame, out: Path) -> pd.DataFrame:
    about = json.loads((out / "surrogate.json").read_text())["models"]
    family = {target: about[target]["family"] for target in about}
    family["power_w"] = family["energy_j"]
    return scores[scores["model"] == scores["target"].map(family)].set_index("target")


def test_published_model_ranks_energy_and_time(fitted: tuple[pd.DataFrame, Path]) -> None:
    best = published(*fitted)
    assert best.loc["energy_j", "kendall_tau"] >= 0.85
    assert best.loc["time_s", "kendall_tau"] >= 0.85
    assert best.loc["energy_j", "mape"] <= 0.10
    assert best.loc["accuracy", "mae"] <= 0.03


def test_scores_compare_models_with_a_baseline(fitted: tuple[pd.DataFrame, Path]) -> None:
    scores, _ = fitted
    assert set(scores["model"]) == {"mean", "linear", "trees", "linear+trees"}
    assert set(scores["target"]) == {"accuracy", "energy_j", "time_s", "power_w"}
    assert len(scores) == 16
    r2 = scores.set_index(["target", "model"])["r2"]
    for target in ("energy_j", "time_s", "accuracy"):
        assert r2[target, "trees"] > r2[target, "mean"] + 0.3
    assert (scores["n"] == 33).all()
    assert (scores["networks"] == 30).all()


def test_same_inputs_give_same_bytes(
    campaign: synthetic.Campaign, fitted: tuple[pd.DataFrame, Path], tmp_path: Path
) -> None:
    scores, out = fitted
    shuffled = campaign.curves.sample(frac=1.0, random_state=1)
    again = surrogate.fit(campaign.dataset, shuffled, synthetic.SETTINGS, tmp_path)
    pd.testing.assert_frame_equal(scores, again)
    files = sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file())
    assert Path("encoding.json") in files
    for name in files:
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name


def test_onnx_bytes_are_stable_and_equal_to_lightgbm() -> None:
    import onnx
    import onnxruntime

    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(300, 6)).astype(np.float32)
    target = np.sin(matrix[:, 0]) + matrix[:, 1] ** 2 + rng.normal(0, 0.1, 300)
    trees = [models.fit_trees(matrix, target, 50, 3) for _ in range(2)]
    names = [f"c{i}" for i in range(6)]
    first, second = (models.to_onnx(booster, "energy_j", names, "abc") for booster in trees)
    assert first == second
    # A set of the converter's, in the order of strings' hashes: another one in each tenth process.
    domains = [entry.domain for entry in onnx.load_from_string(first).opset_import]
    assert domains == sorted(domains) == ["", "ai.onnx.ml"]
    session = onnxruntime.InferenceSession(first, providers=["CPUExecutionProvider"])
    fresh = rng.normal(size=(500, 6)).astype(np.float32)
    found = session.run(None, {"x": fresh})[0][:, 0]
    assert found == pytest.approx(trees[0].predict(fresh), abs=1e-5)
    assert session.get_modelmeta().custom_metadata_map["encoding"] == "abc"


def test_ridge_finds_a_known_line() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(400, 3)).astype(np.float32) * [1, 10, 0] + [0, 5, 7]
    target = 2.0 + 3.0 * matrix[:, 0] - 0.5 * matrix[:, 1]
    line = models.fit_ridge(matrix.astype(np.float32), target, np.arange(400) // 4)
    assert line.coefficients == pytest.approx([3.0, -0.5, 0.0], abs=0.01)
    assert line.intercept == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("family", models.FAMILIES)
def test_held_out_predictions_know_nothing_of_their_networks(family: str) -> None:
    """Changing what a fold's runs measured must not change what is predicted for them."""
    found = synthetic.make(runs=12, replicates=2)
    table = tabulate(found.dataset, found.curves)
    folds, _ = scoring.assign_folds(table.networks, 3, 0)
    before = fitting._held_out(table, folds, family, 20, 0)
    mine = folds == 1
    for cells in table.increments.values():
        cells[mine] *= 0.3
    after = fitting._held_out(table, folds, family, 20, 0)
    for target, cells in before.items():
        assert np.array_equal(cells[mine], after[target][mine], equal_nan=True)
        assert not np.array_equal(cells[~mine], after[target][~mine], equal_nan=True)


@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=40).filter(lambda x: len(set(x)) > 1),
    st.integers(2, 10),
    st.integers(0, 5),
)
def test_folds_keep_networks_together(networks: list[int], wanted: int, seed: int) -> None:
    groups = np.array(networks)
    folds, _ = scoring.assign_folds(groups, wanted, seed)
    assert all(len(set(folds[groups == group])) == 1 for group in set(networks))
    assert len(set(folds.tolist())) == min(wanted, len(set(networks)))


def test_coverage_is_near_nominal_over_seeds(tmp_path: Path) -> None:
    """Pooled over campaigns; with 24 calibrating runs of 30 theory says 0.90 to 0.92."""
    covered = {"energy_j": [], "time_s": [], "accuracy": []}
    settings = synthetic.SETTINGS | {"trees": 15}
    for seed in range(8):
        found = synthetic.make(runs=30, replicates=0, seed=seed)
        scores = surrogate.fit(found.dataset, found.curves, settings, tmp_path / str(seed))
        best = published(scores, tmp_path / str(seed))
        for target, values in covered.items():
            values.append(best.loc[target, "coverage"])
    for target, values in covered.items():
        # 240 runs: two standard errors are 0.04.
        assert np.mean(values) == pytest.approx(0.9, abs=0.05), target


def test_noise_is_that_of_replicates(campaign: synthetic.Campaign, tmp_path: Path) -> None:
    curves = campaign.curves.copy()
    pair = campaign.dataset.groupby([c for c in campaign.dataset if c.startswith("config_")])
    ids = [group["run_id"].tolist() for _, group in pair if len(group) == 2]
    assert len(ids) == 3
    for first, second in ids:
        for run_id, value in ((first, 10.0), (second, 12.0)):
            curves.loc[curves["run_id"] == run_id, "node_energy_j"] = value
    noise = scoring.replicate_noise(tabulate(campaign.dataset, curves))
    assert noise["energy_j"] == pytest.approx(np.sqrt(2.0) / 11.0)


def test_without_replicates_noise_is_null_with_the_reason(tmp_path: Path) -> None:
    found = synthetic.make(runs=12, replicates=0)
    scores = surrogate.fit(found.dataset, found.curves, synthetic.SETTINGS, tmp_path)
    assert scores["noise"].isna().all()
    assert scores["refused"].str.contains("two seeds").all()


def test_few_networks_reduce_folds_and_refuse_intervals(tmp_path: Path) -> None:
    found = synthetic.make(runs=3, replicates=0)
    scores = surrogate.fit(found.dataset, found.curves, synthetic.SETTINGS, tmp_path)
    assert scores["split"].str.startswith("3-fold").all()
    assert scores["coverage"].isna().all()
    assert scores["kendall_tau"].isna().all()
    assert scores["refused"].str.contains("too few to set a 90% interval").all()
    intervals = json.loads((tmp_path / "intervals.json").read_text())
    assert intervals["targets"]["energy_j"]["final"] is None


def test_a_run_with_an_unknown_epoch_is_not_scored(
    campaign: synthetic.Campaign, tmp_path: Path
) -> None:
    curves = campaign.curves.copy()
    curves.loc[(curves["run_id"] == "single-00007") & (curves["epoch"] == 1), "node_energy_j"] = (
        np.nan
    )
    scores = surrogate.fit(campaign.dataset, curves, synthetic.SETTINGS, tmp_path)
    n = scores.groupby("target")["n"].first()
    assert n.to_dict() == {"accuracy": 33, "energy_j": 32, "power_w": 32, "time_s": 33}


def test_gpu_energy_serves_where_no_node_energy_is_known(
    campaign: synthetic.Campaign, tmp_path: Path
) -> None:
    curves = campaign.curves.assign(node_energy_j=np.nan)
    surrogate.fit(campaign.dataset, curves, synthetic.SETTINGS, tmp_path)
    assert json.loads((tmp_path / "surrogate.json").read_text())["energy_scope"] == "gpu"


def test_failed_runs_are_left_out(campaign: synthetic.Campaign, tmp_path: Path) -> None:
    dataset = campaign.dataset.copy()
    dataset.loc[0, "status"] = "failed"
    dataset[["macs", "params"]] = dataset[["macs", "params"]].astype("Int64")
    dataset.loc[0, ["macs", "params"]] = pd.NA
    scores = surrogate.fit(dataset, campaign.curves, synthetic.SETTINGS, tmp_path)
    assert (scores["n"] == 32).all()


def fit_bad(dataset: pd.DataFrame, curves: pd.DataFrame, tmp_path: Path) -> str:
    with pytest.raises(WattproofError) as caught:
        surrogate.fit(dataset, curves, synthetic.SETTINGS, tmp_path)
    return str(caught.value)


def test_what_cannot_be_fitted_says_so(campaign: synthetic.Campaign, tmp_path: Path) -> None:
    data, curves = campaign.dataset, campaign.curves
    one = synthetic.make(configs=space.get("regnet_demo").sample(1, 0), replicates=1)
    assert "1 distinct network(s)" in fit_bad(one.dataset, one.curves, tmp_path)
    assert "No run" in fit_bad(data.assign(status="failed"), curves, tmp_path)
    none = curves.assign(node_energy_j=np.nan, gpu_energy_j=np.nan)
    assert "No epoch" in fit_bad(data, none, tmp_path)
    assert "'macs'" in fit_bad(data.assign(macs=pd.NA), curves, tmp_path)
    assert "'accuracy'" in fit_bad(data, curves.assign(val_accuracy=np.nan), tmp_path)
