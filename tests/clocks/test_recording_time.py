"""Time of samples on the recording's clock, to the nanosecond."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattproof import clocks
from wattproof.clocks.stamps import device_to_mono
from wattproof.errors import WattproofError

EPOCH = 1_764_000_000_123_456_789  # float64 knows this only to 256 ns


def tables_of(
    device: list[int | None], clock: str = "device", **row: object
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    n = len(device)
    samples = pd.DataFrame(
        {
            "recording": "r", "session": 0, "source": "s", "channel": "c",
            "scheduled_ns": pd.array([None] * n, dtype="Int64"),
            "start_ns": [EPOCH + 10 * i for i in range(n)],
            "end_ns": [EPOCH + 10 * i + 5 for i in range(n)],
            "device_ns": pd.array(device, dtype="Int64"),
        }
    )  # fmt: skip
    key = {"recording": "r", "session": 0, "source": "s"}
    channels = pd.DataFrame([{**key, "channel": "c", "clock": clock}])
    known = {"offset_ns": 0, "drift_ppm": 0.0, "anchor_ns": 0, "accepted": True}
    return samples, channels, pd.DataFrame([{**key, **known, **row}])


def test_host_clock_is_the_midpoint_without_floats() -> None:
    found = clocks.to_recording_time(*tables_of([None, None], clock="host"))
    assert found.dtype == "Int64"
    assert list(found) == [EPOCH + 2, EPOCH + 12]


def test_device_clock_goes_through_its_row() -> None:
    stamps = [EPOCH, EPOCH + 1, EPOCH + 10**12, None]
    found = clocks.to_recording_time(
        *tables_of(stamps, offset_ns=-EPOCH, drift_ppm=50.0, anchor_ns=EPOCH)
    )
    # 50 ppm of 1000 s are 50 ms.
    assert list(found[:3]) == [0, 1, 10**12 + 50_000_000]
    assert found[3] is pd.NA


def test_refused_clocks_and_missing_rows_have_no_time() -> None:
    refused = tables_of([1, 2], offset_ns=None, drift_ppm=None, anchor_ns=None, accepted=False)
    assert clocks.to_recording_time(*refused).isna().all()
    samples, channels, rows = tables_of([1, 2])
    assert clocks.to_recording_time(samples, channels, rows.iloc[:0]).isna().all()


def test_nanoseconds_as_floats_are_rejected() -> None:
    samples, channels, rows = tables_of([1, 2])
    samples["end_ns"] = samples["end_ns"].astype("float64")
    with pytest.raises(WattproofError, match="end_ns"):
        clocks.to_recording_time(samples, channels, rows)


@given(
    st.integers(-(10**18), 10**18),
    st.integers(-(10**18), 10**18),
    st.integers(-(10**14), 10**14),
    st.floats(-500, 500),
)
def test_mapping_is_exact_to_a_nanosecond(
    anchor: int, offset: int, elapsed: int, drift: float
) -> None:
    """Against exact rational arithmetic."""
    from fractions import Fraction

    found = int(device_to_mono(np.array([anchor + elapsed]), offset, drift, anchor)[0])
    exact = anchor + elapsed + offset + Fraction(drift) * elapsed / 10**6
    assert abs(found - exact) <= 1
