"""What a fit says of its own trust: tables and files, from one campaign with a known law."""

import json
from pathlib import Path

import pandas as pd
import pytest
import surrogate_campaign as synthetic

from wattproof import surrogate
from wattproof.surrogate import fitting

SETTINGS = synthetic.SETTINGS | {"trees": 15, "splits": 2, "growth": 1}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[surrogate.Fit, Path]:
    out = tmp_path_factory.mktemp("trust")
    made = synthetic.make(runs=90, replicates=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "ONE_FOLD", 90)  # further splits as of a large campaign
        return surrogate.fit(made.dataset, made.curves, SETTINGS, out), out


def test_noise_is_that_of_the_replicates(fitted: tuple[surrogate.Fit, Path]) -> None:
    noise = json.loads((fitted[1] / "noise.json").read_text())
    about = noise["about"]["energy_j"]
    assert about["source"] == "replicates"
    assert about["groups"] == 30
    assert about["low"] <= synthetic.NOISE <= about["high"]
    assert noise["about"]["accuracy"]["std"] == pytest.approx(synthetic.ACCURACY_NOISE, rel=0.35)
    assert "differ in nothing but the seed" in about["words"]


def test_coverage_is_told_inside_and_outside(fitted: tuple[surrogate.Fit, Path]) -> None:
    table = fitted[0].coverage
    assert set(table["split"]) == {"2 seeded splits by network", "left out"}
    whole = table[(table["stratum"] == "all")].set_index("target")
    assert whole.loc["energy_j", "networks"] == 90
    # All 120 runs once, and those of one fold of five in the second split.
    assert 120 + 18 <= whole.loc["energy_j", "n"] <= 120 + 36
    assert whole.loc["energy_j", "coverage"] == pytest.approx(0.9, abs=0.07)
    out = table[table["split"] == "left out"]
    assert {"4 epochs", "6 epochs"} <= set(out["stratum"])
    assert (out["verdict"] != "").all()


def test_growth_goes_up_to_the_whole_campaign(fitted: tuple[surrogate.Fit, Path]) -> None:
    table = fitted[0].growth
    measured = table[table["kind"] == "measured"]
    assert sorted(measured["networks"].unique()) == [9, 18, 36, 72]
    tau = measured[measured["target"] == "energy_j"].set_index("networks")["kendall_tau"]
    assert tau[72] > tau[9]
    expected = table[table["kind"] == "expected"]
    assert set(expected["target"]) == set(measured["target"])
    assert (expected["words"] != "").all()
    assert set(expected["networks"]) == {144}


def test_novelty_is_stored_with_its_proof(fitted: tuple[surrogate.Fit, Path]) -> None:
    proof = json.loads((fitted[1] / "novelty.json").read_text())["proof"]
    assert set(proof) == {"definition", "auroc", "worst", "false_alarms", "regions"}
    assert "AUROC" in proof["definition"]
    named = {one["region"] for one in proof["regions"]}
    assert any("epochs" in name for name in named)


def test_scores_stand_beside_ceilings(fitted: tuple[surrogate.Fit, Path]) -> None:
    scores = fitted[0].scores
    best: pd.Series = scores[(scores["target"] == "energy_j") & scores["chosen"]].iloc[0]
    assert best["kendall_tau"] <= best["kendall_tau_ceiling"] + 0.02
    assert best["error_floor"] == pytest.approx(0.8 * best["noise"], rel=0.01)
    assert best["noise_groups"] == 30
