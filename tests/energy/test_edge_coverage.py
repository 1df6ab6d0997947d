"""What intervals are worth where no gain hides it: exact boards, edges at level changes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from energy_tables import channel, integrate, samples, windows

from wattproof import clocks, energy
from wattproof.offline import Training, simulate
from wattproof.virtual.load import Load

SILENT = 3e-4
"""Windows of constant power have hardly any uncertainty; noise of so much is let pass."""


@pytest.fixture(scope="module")
def exact() -> pd.DataFrame:
    """Epochs, phases and loads of three recordings of preset paper without gains."""
    trainings = [
        Training(epochs=4, epoch_s=length, load=Load(level, level, 0.25, 0.3))
        for length, level in ((3.0, 0.15), (5.0, 0.5), (8.0, 0.3))
    ]
    programme = [("sync", 6.0), ("idle", 6.0), *trainings, ("gpu", 6.0), ("idle", 6.0)]
    parts = []
    for seed in range(3):
        made = simulate(
            "paper",
            programme,
            seed=seed,
            overrides={"gpu": {"gain_spread": 0.0, "offset_spread_w": 0.0}},
        )
        read, listed, marks, runs = (
            made.frame(name) for name in ("samples", "channels", "marks", "runs")
        )
        boards = listed["channel"].str.startswith("gpu")
        listed["accuracy_reading"] = listed["accuracy_reading"].mask(boards)
        cut = energy.cut_windows(marks, runs)
        found = energy.integrate(read, listed, clocks.align(read, listed, marks, {}), cut, {})
        found = found[found["slot"].isna() | (found["slot"] == 0)]
        found = found[~found["channel"].str.match("gpu[123]")]
        spans = cut.set_index("window_id").loc[found["window_id"]]
        start, end = spans["start_ns"].to_numpy(), spans["end_ns"].to_numpy()
        for name, rows in found.groupby("channel").indices.items():
            of = str(name).split(".")[0] if str(name).startswith("gpu") else name
            true = made.truth.energy_j(of, start[rows], end[rows])
            parts.append(found.iloc[rows].assign(true_j=true))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    ("source", "name", "at_most"),
    [
        ("meter", "node.ac", 0.004),
        ("nvml", "gpu0.energy", 0.003),
        ("nvml", "gpu0.power_samples", 0.003),
        ("nvml", "gpu0.power_instant", 0.03),
        ("nvml", "gpu0.power_average", 0.02),
        ("rapl", "cpu0.package", 0.005),
    ],
)
def test_intervals_cover_the_truth_where_power_changes_at_the_edges(
    exact: pd.DataFrame, source: str, name: str, at_most: float
) -> None:
    """Meter, counter, ring, a sensor that sees a quarter of the time, and the 1 s average."""
    own = exact[(exact["source"] == source) & (exact["channel"] == name)]
    assert len(own) >= 120
    off = (own["energy_j"] - own["true_j"]).abs()
    assert (off <= 2 * own["energy_u_j"] + SILENT * own["true_j"]).mean() >= 0.92
    assert (own["energy_u_j"] / own["true_j"]).median() <= at_most


@pytest.mark.parametrize("down", [False, True])
def test_a_running_mean_carries_an_eighth_of_the_change_across_an_edge(down: bool) -> None:
    """From 100 to 300 W at second 5: of 1 s means, 200 W · 1 s / 8 land on the wrong side."""
    t = np.arange(0, 20.001, 0.1)
    power = 100 + 200 * np.clip(t - 5, 0, 1) - (200 * np.clip(t - 12, 0, 1) if down else 0)
    one = channel("gpu0.power_average", averaging_s=1.0)
    row = integrate(samples("gpu0.power_average", t, power), [one], windows((5, 12))).iloc[0]
    lost = 25.0 * (2 if down else 1)
    # A read that changed may have done so up to 0.1 s before: half of that is taken off.
    assert 300 * 7 - row["energy_j"] == pytest.approx(lost, rel=0.2)
    assert row["u_edge_j"] == pytest.approx(lost / np.sqrt(3), rel=0.1)
    steady = integrate(samples("gpu0.power_average", t, power), [one], windows((7, 10))).iloc[0]
    assert steady["u_edge_j"] == pytest.approx(0, abs=1e-9)
    assert steady["energy_j"] == pytest.approx(900)
