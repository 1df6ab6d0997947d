"""The stored surrogate: curves rise for any input, length and draw; pure; one or many at a time."""

import random

import numpy as np
import pytest
import surrogate_campaign as synthetic
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from wattproof import surrogate
from wattproof.surrogate import Predictor, choosing, neural

COSTS = ("energy_j", "time_s", "gpu_energy_j")


@pytest.fixture(scope="module", params=["linear", "neural"])
def predictor(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Predictor:
    """With the richest curve family, so that all the arithmetic takes part."""
    out = tmp_path_factory.mktemp("fit")
    campaign = synthetic.make(runs=24, replicates=3)
    settings = synthetic.SETTINGS | {"families": [request.param], "folds": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neural, "PASSES", 30)
        patch.setattr(neural, "STEPS", 30)
        patch.setitem(choosing.CURVES, "cost", ("splines",))
        patch.setitem(choosing.FIRST_CURVE, "cost", "splines")
        surrogate.fit(campaign.dataset, campaign.curves, settings, out)
    found = Predictor({name: (out / name).read_bytes() for name in surrogate.FILES})
    assert found.families["energy_j"] == request.param
    return found


@given(st.data())
def test_costs_rise_for_any_input_length_and_draw(
    predictor: Predictor, data: st.DataObject
) -> None:
    """Also far outside of what was trained, and for trainings longer than any that was seen."""
    width = len(predictor.encoding.names)
    numbers = st.floats(-50.0, 50.0, width=32)
    one = data.draw(arrays.arrays(np.float64, (1, width), elements=numbers))
    length = data.draw(st.integers(2, 40 * predictor.longest))
    draw = data.draw(st.integers(0, 2**64 - 1))
    epoch = np.arange(1, length + 1)
    answer = predictor.answer(np.repeat(one, length, axis=0), epoch, np.full(length, length))
    noisy = predictor.noisy(answer.value, np.full(length, draw, dtype=np.uint64))
    for values in (answer.value, noisy):
        for name in COSTS:
            known = np.isfinite(values[name]) & (values[name] > 0)
            if known.all():  # exponentials of absurd inputs leave the range of numbers
                assert (np.diff(values[name]) > 0).all(), name
        assert ((values["accuracy"] >= 0) & (values["accuracy"] <= 1)).all()


def test_one_by_one_is_as_all_at_once(predictor: Predictor) -> None:
    rng = np.random.default_rng(0)
    static = rng.normal(size=(40, len(predictor.encoding.names)))
    epochs = rng.integers(1, 9, 40)
    epoch = rng.integers(1, epochs + 1)
    states = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    many = predictor.answer(static, epoch, epochs)
    for row in range(40):
        here = slice(row, row + 1)
        one = predictor.answer(static[here], epoch[here], epochs[here])
        for kind in ("value", "low", "high", "noise", "model"):
            for name in predictor.targets:
                found, wanted = getattr(one, kind)[name][0], getattr(many, kind)[name][row]
                assert found == pytest.approx(wanted, rel=1e-5, abs=1e-6, nan_ok=True)
        assert one.novelty[0] == pytest.approx(many.novelty[row], rel=1e-9)
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002


def test_answers_hang_together(predictor: Predictor) -> None:
    rng = np.random.default_rng(1)
    static = rng.normal(size=(20, len(predictor.encoding.names)))
    answer = predictor.answer(static, np.full(20, 2), np.full(20, 4))
    power = answer.value["energy_j"] / answer.value["time_s"]
    assert answer.value["power_w"] == pytest.approx(power, rel=1e-9)
    for name in predictor.targets:
        assert (answer.low[name] <= answer.value[name]).all()
        assert (answer.value[name] <= answer.high[name]).all()
    members = predictor.families["energy_j"] == "neural"
    assert (answer.model["energy_j"] > 0).all() == members
