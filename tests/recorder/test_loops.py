"""Deadlines: on the grid, never caught up, each missed one counted."""

import threading
import time
from itertools import pairwise
from typing import Any

import pytest
from faulty_sources import Faulty
from hypothesis import given
from hypothesis import strategies as st

from wattproof.errors import WattproofError
from wattproof.recorder.loops import Counts, StopSignal, next_tick, rows, run
from wattproof.recorder.streams import Row
from wattproof.sources.base import Reading, Status

PERIOD_NS = 20_000_000


def drive(seconds: float, **settings: Any) -> tuple[list[Row], Counts]:
    source, stop, counts = Faulty(settings, None), StopSignal(), Counts()
    source.open()
    found: list[Row] = []
    threading.Timer(seconds, stop.set).start()
    run(source, stop, found.extend, counts)
    return found, counts


@given(st.integers(0, 10**6), st.integers(-(10**9), 10**12), st.integers(1, 10**9))
def test_next_tick_is_the_running_one(tick: int, late_ns: int, period_ns: int) -> None:
    """Oracle: walk the grid from the tick just read."""
    first_ns = 10**15
    now_ns = first_ns + tick * period_ns + late_ns
    found = next_tick(tick, first_ns, period_ns, now_ns)
    assert found > tick
    deadline = first_ns + found * period_ns
    assert deadline > now_ns - period_ns, "a tick whose period is over is not read any more"
    if found > tick + 1:
        assert deadline <= now_ns, "a tick is skipped only when a later one is due"


def test_deadlines_lie_exactly_on_the_grid() -> None:
    found, counts = drive(0.6)
    scheduled = [r[1] for r in found]
    assert None not in scheduled
    ticks = [(s - scheduled[0]) / PERIOD_NS for s in scheduled]  # type: ignore[operator]
    assert all(t == int(t) for t in ticks)
    assert len(set(ticks)) == len(ticks)
    assert len(found) + counts.missed == ticks[-1] + 1
    assert counts.taken == len(found) >= 20
    assert all(r[2] >= r[1] for r in found if r[1] is not None), "never before the deadline"
    assert all(r[3] >= r[2] for r in found)


def test_a_long_read_costs_its_deadlines_and_is_not_caught_up() -> None:
    found, counts = drive(1.0, block_at=5, block_s=0.31)
    assert counts.missed >= 14  # 0.31 s are 15 periods, one of which was read itself
    starts = [r[2] for r in found]
    scheduled = [r[1] for r in found]
    # After the block: one late read at most, then the grid again, no burst.
    after = [b - a for a, b in pairwise(starts[5:])]
    assert sum(gap < PERIOD_NS // 2 for gap in after) <= 2
    span = scheduled[-1] - scheduled[0]  # type: ignore[operator]
    assert span // PERIOD_NS + 1 == counts.taken + counts.missed


def test_reads_slower_than_the_period_stay_on_the_grid() -> None:
    found, counts = drive(0.6, burn_s=0.05)
    steps = {(b[1] - a[1]) % PERIOD_NS for a, b in pairwise(found)}  # type: ignore[operator]
    assert steps == {0}
    assert counts.missed >= counts.taken - 1


def test_pause_waits_after_each_read() -> None:
    """EA-HAS-Bench's way: true period = pause + read."""
    found, counts = drive(0.8, pacing="pause", period_s=0.05, burn_s=0.05)
    gaps = [b[2] - a[2] for a, b in pairwise(found)]
    assert len(gaps) >= 3
    assert min(gaps) >= 100_000_000
    assert counts.missed == 0
    assert all(r[2] >= r[1] for r in found if r[1] is not None)


def test_stream_has_no_schedule() -> None:
    found, counts = drive(0.3, pacing="stream", fail_at=2)
    assert {r[1] for r in found} == {None}
    assert (counts.failed, counts.missed) == (1, 0)
    assert found[2][6:] == (None, Status.TIMEOUT)


def test_stop_wakes_a_long_wait() -> None:
    begin = time.monotonic()
    found, _ = drive(0.2, period_s=30.0)
    assert found == []
    assert time.monotonic() - begin < 3.0


def test_a_device_that_is_gone_ends_the_loop() -> None:
    with pytest.raises(WattproofError, match="is gone"):
        drive(5.0, lost_at=3)


def test_own_stamps_of_a_reading_win() -> None:
    readings = [Reading("a", 1.0), Reading("b", 2.0, device_ns=7, start_ns=120, end_ns=150)]
    first, second = rows(readings, 90, 100, 200, 10_200)
    assert first == ("a", 90, 100, 200, 10_200, None, 1.0, Status.OK)
    assert second == ("b", 90, 120, 150, 10_150, 7, 2.0, Status.OK)
