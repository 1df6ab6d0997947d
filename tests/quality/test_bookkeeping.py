"""How others kept their figures: one device under two names, energy before the first epoch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_factors import reported

from wattproof.quality import bookkeeping


def named(first: str, second: str, factor: float = 1.0) -> pd.DataFrame:
    """The GPU under one name in first repeats and another in second ones, with other power."""
    rows = reported(seed=4)
    gpu = rows["channel"] == "gpu0.energy"
    again = gpu & (rows["replicate"] == 1)
    rows.loc[gpu, "device"] = first
    rows.loc[again, "device"] = second
    rows.loc[again, "mean_w"] /= factor
    return rows


def test_a_vendor_before_the_name_is_noticed_with_what_it_changes() -> None:
    (row,) = bookkeeping.device_names(named("NVIDIA Quadro RTX 6000", "Quadro RTX 6000", 1.1))
    assert row["flag"] == "device_names_differ"
    assert row["affected"] == 60
    found = float(row["evidence"].split(" by ")[1].split(" %")[0])
    assert abs(found) == pytest.approx(100 * np.log(1.1), abs=2)


@pytest.mark.parametrize("second", ["Tesla V100", "NVIDIA Quadro RTX 6000"])
def test_other_devices_and_equal_names_are_no_mixture(second: str) -> None:
    assert not list(bookkeeping.device_names(named("NVIDIA Quadro RTX 6000", second)))


def with_points(start: float) -> pd.DataFrame:
    rows = reported(seed=4)
    texts = [f"0:{start};1:{start + 1};{epochs}:{10 * epochs}" for epochs in rows["epochs"]]
    return rows.assign(config_points=texts, config_other="x")


def test_energy_before_the_first_epoch_is_told_by_budget() -> None:
    (row,) = bookkeeping.before_epochs(with_points(2.0))
    assert "5.0% of it after 4 epochs (median), 1.7% after 12" in row["evidence"]
    assert (row["affected"], row["of"]) == (120, 120)


def test_a_column_that_only_looks_like_points_is_left_alone() -> None:
    rows = with_points(2.0).assign(config_spans="0:1-2;1:3-4")
    assert bookkeeping.POINTS.fullmatch("0:1-2;1:3-4")
    (row,) = bookkeeping.before_epochs(rows)
    assert "column 'points'" in row["evidence"]


def test_no_energy_before_the_first_epoch_is_no_finding() -> None:
    assert not list(bookkeeping.before_epochs(with_points(0.0)))
