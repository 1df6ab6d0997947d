"""Calibration loads: programmes, timing, and the work itself."""

from __future__ import annotations

import os
import time
from itertools import pairwise

import numpy as np
import pytest

from wattproof.training import loads
from wattproof.training.activity import Activity
from wattproof.training.work import Crew, count_primes, keep_busy


class FakeWriter:
    """Stands where the virtual node's activity file stands."""

    def __init__(self):
        self.records = []

    def publish(self, slot, kind, gpu_compute=0.0, gpu_memory=0.0, cpu_load=0.0, dram_load=0.0):
        levels = (gpu_compute, gpu_memory, cpu_load, dram_load)
        self.records.append((time.monotonic_ns(), slot, kind, levels))


# https://oeis.org/A006880: primes below powers of ten.
@pytest.mark.parametrize(
    ("limit", "count"), [(0, 0), (2, 0), (3, 1), (10, 4), (100, 25), (10**4, 1229), (10**6, 78498)]
)
def test_the_sieve_counts_primes(limit, count):
    assert count_primes(limit) == count


def test_keep_busy_works_for_its_share_and_ends_in_time():
    calls = []

    def quantum():
        start = time.monotonic_ns()
        while time.monotonic_ns() - start < 2_000_000:
            pass
        calls.append(time.monotonic_ns() - start)

    begin = time.monotonic_ns()
    keep_busy(begin + 1_000_000_000, 0.3, quantum)
    lasted = time.monotonic_ns() - begin
    assert 1.0e9 <= lasted < 1.1e9
    # 30 % is meant; a busy machine can only take time away from the loop or stretch one quantum.
    assert 0.15e9 < sum(calls) < 0.6e9


def test_stairs():
    steps = loads.programme("gpu", 8.0, seed=0)
    assert [(s.seconds, s.level) for s in steps] == [(2, 0.25), (2, 0.5), (2, 0.75), (2, 1.0)]


def test_six_seconds_of_sync_are_24_chips():
    steps = loads.programme("sync", 6.0, seed=3)
    assert len(steps) == 24
    assert {s.seconds for s in steps} == {0.25}
    assert {s.level for s in steps} == {0.0, 1.0}
    assert steps == loads.programme("sync", 6.0, seed=3)


@pytest.mark.parametrize("period", [31, 63, 127, 511, 1023])
def test_the_pattern_is_a_maximal_length_sequence(period):
    pattern = loads.sync_pattern(period, seed=5)
    signs = np.where(pattern, 1, -1)
    # The defining property: every shift of a whole period correlates to −1.
    correlation = [int(signs @ np.roll(signs, shift)) for shift in range(1, period)]
    assert set(correlation) == {-1}
    assert sum(pattern) == (period + 1) // 2


def test_seeds_begin_the_pattern_elsewhere():
    assert len({loads.sync_pattern(24, seed) for seed in range(40)}) > 15


@pytest.mark.parametrize("seed", range(31))
def test_short_patterns_have_both_levels_and_many_edges(seed):
    pattern = loads.sync_pattern(24, seed)
    assert 8 <= sum(pattern) <= 16
    assert sum(a != b for a, b in pairwise(pattern)) >= 8


def test_sync_is_published_on_the_beat_and_ends_idle():
    writer = FakeWriter()
    steps = loads.programme("sync", 1.5, seed=2)
    begin = time.monotonic_ns()
    with Crew("prime", 1, virtual=True) as crew:
        begin = time.monotonic_ns()
        loads.play("sync", steps, crew, Activity(writer, 2))
    assert [slot for _, slot, _, _ in writer.records] == [2] * 7
    on = [levels[0] > 0 for _, _, _, levels in writer.records]
    assert on == [step.level > 0 for step in steps] + [False]
    for index, record in enumerate(writer.records):
        assert record[0] - begin == pytest.approx(index * 0.25e9, abs=0.15e9)
    assert writer.records[-1][2:] == ("idle", (0, 0, 0, 0))


@pytest.mark.parametrize(
    ("load", "gpu", "cpu"), [("prime", 0, 1), ("stress", 0, 1), ("gpu", 1, None)]
)
def test_published_levels(load, gpu, cpu):
    writer = FakeWriter()
    activity = Activity(writer, 0)
    activity.calibration(load, 1.0)
    activity.calibration(load, 0.5)
    (_, _, kind, full), (_, _, _, half) = writer.records
    assert kind == load
    assert full[:2] == (gpu, gpu)
    assert cpu is None or full[2] == cpu
    assert half == pytest.approx([level / 2 for level in full])


def test_a_real_load_really_works_on_several_processes():
    """CPU time of this process and its children grows by about workers × seconds."""
    before = os.times()
    with Crew("stress", 2, virtual=False) as crew:
        loads.play("stress", [loads.Step(1.0, 1.0)], crew, Activity(None, 0))
    after = os.times()
    own = after.user + after.system - before.user - before.system
    children = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    # Others may use the machine: each must have had a good part of its second.
    assert own > 0.2
    assert children > 0.2


def test_light_work_on_the_virtual_node_leaves_the_cpu_to_others():
    begin = time.process_time()
    with Crew("prime", 1, virtual=True) as crew:
        ready = time.process_time()
        loads.play("prime", [loads.Step(1.0, 1.0)], crew, Activity(FakeWriter(), 0))
    assert ready >= begin
    assert 0.02 < time.process_time() - ready < 0.4
