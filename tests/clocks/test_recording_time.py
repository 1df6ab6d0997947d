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


def on_wall_clock(
    stamps: list[int | None], end: list[int], wall: list[int]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    samples, channels, rows = tables_of(stamps, clock="wall")
    samples["end_ns"], samples["wall_ns"] = end, wall
    samples["start_ns"] = [t - 300_000 for t in end]
    return samples, channels, rows


MS = 1_000_000


def test_wall_clock_goes_by_the_stamps_of_each_read() -> None:
    """Two drains of three samples; between them the wall clock was slewed by 1 ms."""
    wall = EPOCH
    offsets = [wall, wall, wall, wall + MS, wall + MS, wall + MS]
    end = [100 * MS] * 3 + [160 * MS] * 3
    true_ns = [(40 + 20 * i) * MS for i in range(6)]
    stamps = [t + o for t, o in zip(true_ns, offsets, strict=True)]
    found = clocks.to_recording_time(
        *on_wall_clock([*stamps], end, [e + o for e, o in zip(end, offsets, strict=True)])
    )
    assert list(found) == true_ns


@pytest.mark.parametrize("step_ms", [-3_600_000, -250, 250, 3_600_000])
def test_a_step_of_the_wall_clock_between_stamp_and_read_is_recognised(step_ms: int) -> None:
    """Drains each 400 ms; the clock is set at 1030 ms: samples before it carry the old time."""
    wall, step = EPOCH, step_ms * MS
    at = np.arange(1, 100) * 20 * MS
    end = (at // (400 * MS) + 1) * 400 * MS
    stamps = at + wall + np.where(at >= 1030 * MS, step, 0)
    walls = end + wall + np.where(end >= 1030 * MS, step, 0)
    found = clocks.to_recording_time(*on_wall_clock(stamps.tolist(), end.tolist(), walls.tolist()))
    known = ~np.asarray(found.isna())
    # Right, or not known: never somewhere else.
    assert (found[known].to_numpy(dtype=np.int64) == at[known]).all()
    assert known.mean() >= 0.9


def test_wall_clock_without_a_stamp_has_no_time() -> None:
    end = [100 * MS] * 2
    found = clocks.to_recording_time(
        *on_wall_clock([None, EPOCH + MS], end, [EPOCH + t for t in end])
    )
    assert found[0] is pd.NA
    assert found[1] == MS


def test_a_sample_from_the_future_has_no_time() -> None:
    end = [100 * MS]
    stamps: list[int | None] = [EPOCH + 200 * MS]
    found = clocks.to_recording_time(*on_wall_clock(stamps, end, [EPOCH + 100 * MS]))
    assert found.isna().all()


def test_a_source_with_channels_on_the_wall_clock_shares_the_recordings_clock() -> None:
    samples, channels, _ = on_wall_clock([EPOCH], [100 * MS], [EPOCH + 100 * MS])
    samples["value"], samples["status"] = 100.0, "ok"
    channels["kind"], channels["device"], channels["averaging_s"] = "power", "GPU-0", 0.0
    marks = pd.DataFrame({"recording": [], "session": [], "kind": [], "name": [], "mono_ns": []})
    found = clocks.align(samples, channels, marks, {})
    assert found[["source", "method", "accepted", "offset_ns"]].to_numpy().tolist() == [
        ["s", "same_clock", True, 0]
    ]
