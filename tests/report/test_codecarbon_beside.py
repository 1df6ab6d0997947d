"""Recording Code Carbon (the library) beside the instruments changes no verdict and no estimate."""

from __future__ import annotations

import json

import pandas as pd
import synthetic_campaign as made

from wattproof import agreement, offsocket
from wattproof.calibration import calibrate
from wattproof.report.scorecard import judge

CHANNELS = ("codecarbon.node", "codecarbon.cpu", "codecarbon.gpu", "codecarbon.ram")


def with_codecarbon(energy: pd.DataFrame) -> pd.DataFrame:
    """Each window also by Code Carbon, with energies that would be noticed anywhere: × 10."""
    mine = energy[energy["channel"] == "node.ac"]
    parts = [
        mine.assign(
            source="codecarbon",
            channel=name,
            device="node/codecarbon",
            method="counter",
            energy_j=mine["energy_j"].astype("float64") * 10,
            mean_w=mine["mean_w"].astype("float64") * 10,
        )
        for name in CHANNELS
    ]
    return pd.concat([energy, *parts], ignore_index=True)


def test_balance_agreement_and_estimators_do_not_see_it() -> None:
    inputs = made.full()
    energy, beside = inputs.energy, with_codecarbon(inputs.energy)
    assert len(beside) > len(energy)
    pd.testing.assert_frame_equal(offsocket.node_balance(energy), offsocket.node_balance(beside))
    settings = {"min_samples": 3, "alpha": 0.05, "off_socket": "load", "memory_gib": 251.5}
    before, after = offsocket.fit(energy), offsocket.fit(beside)
    pd.testing.assert_frame_equal(
        agreement.assess(energy, before, settings), agreement.assess(beside, after, settings)
    )
    one = calibrate(energy, inputs.channels, before, settings)
    two = calibrate(beside, inputs.channels, after, settings)
    assert {"code_carbon", "code_carbon_2x"} <= set(one.table["estimator"])
    # It is one more estimator, by the library's own figure; all others stay as they are.
    own = "code_carbon_recorded"
    for before_, after_ in ((one.table, two.table), (one.estimates, two.estimates)):
        assert (after_["estimator"] == own).any()
        others = after_[after_["estimator"] != own].reset_index(drop=True)
        pd.testing.assert_frame_equal(before_, others)
    row = two.table.set_index("estimator").loc[own]
    assert abs(row["error_median"] + 9.0) < 1e-9  # ten times the meter


def test_scorecard_stays() -> None:
    inputs = made.full()
    # Its health is shown like that of any source: that is no difference.
    health = [inputs.health, made.frame([made.health_row("codecarbon")], "health")]
    inputs = made.but(inputs, health=pd.concat(health, ignore_index=True))
    rows = [
        made.channel("codecarbon", name, "J", "energy", device="node/codecarbon")
        for name in CHANNELS
    ]
    beside = made.but(
        inputs,
        energy=with_codecarbon(inputs.energy),
        channels=pd.concat([inputs.channels, made.frame(rows, "channels")], ignore_index=True),
    )
    told = json.dumps(judge(beside).as_dict())
    assert "codecarbon delivered" in told
    assert told == json.dumps(judge(inputs).as_dict())
