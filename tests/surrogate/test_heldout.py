"""Table ``held_out`` is what the scores were computed from."""

from pathlib import Path

import numpy as np
import surrogate_campaign as synthetic

from wattproof import surrogate


def test_held_out_predictions_give_the_scores(tmp_path: Path) -> None:
    campaign = synthetic.make()
    settings = synthetic.SETTINGS | {"splits": 1, "growth": 1}
    found = surrogate.fit(campaign.dataset, campaign.curves, settings, tmp_path)
    table = found.held_out
    scores = found.scores[found.scores["chosen"]].set_index("target")
    energy = table[table["target"] == "energy_j"]
    assert sorted(energy["run_id"]) == sorted(campaign.dataset["run_id"])
    keys = campaign.dataset.set_index("run_id")["network_key"]
    assert (keys[energy["run_id"]].to_numpy() == energy["network_key"].to_numpy()).all()
    sums = campaign.curves.groupby("run_id")["node_energy_j"].sum()
    np.testing.assert_allclose(energy["measured"], sums[energy["run_id"]], rtol=1e-9)
    for target, own in table.groupby("target"):
        error = (own["predicted"] - own["measured"]).abs()
        row = scores.loc[target]
        np.testing.assert_allclose(error.mean(), row["mae"], rtol=1e-9)
        inside = (own["measured"] >= own["low"]) & (own["measured"] <= own["high"])
        bounded = own["low"].notna()
        if bounded.any():
            np.testing.assert_allclose(inside[bounded].mean(), row["coverage"], atol=1e-9)
