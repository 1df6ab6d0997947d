"""Truth against sums by hand, and properties that any exact energy must have."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattproof.errors import WattproofError
from wattproof.space import Network
from wattproof.virtual import presets
from wattproof.virtual.load import CALIBRATION_LOADS, training_load
from wattproof.virtual.model import PowerModel, PowerTrace, events

LAPTOP = presets.get("laptop")
TINY = Network(32, (96, 200), (5, 5), 8, 200, 32)
SECOND = 10**9
# An uptime of 300 days: a float64 of it in ns would be off by several ns.
T0 = 300 * 86_400 * SECOND + 1


def off_socket_steps(preset, gpu_w, cpu, dram):
    p = presets.get(preset)
    model = PowerModel(p)
    idle_w = p.gpu.count * p.gpu.idle_w
    idle = model.off_socket_w(0.0, 0.0, idle_w)
    return model.off_socket_w(cpu, dram, idle_w - p.gpu.idle_w + gpu_w) - idle


def test_off_socket_steps_of_the_paper():
    prime, stress = CALIBRATION_LOADS["prime"], CALIBRATION_LOADS["stress"]
    assert off_socket_steps("paper", 75, prime.cpu_load, prime.dram_load) == pytest.approx(
        32, abs=1
    )
    assert off_socket_steps("paper", 75, stress.cpu_load, stress.dram_load) == pytest.approx(
        175, abs=1
    )
    train = training_load(TINY, "train", 1024, presets.get("paper"))
    steps = {
        w: off_socket_steps("paper", w, train.cpu_load, train.dram_load) for w in (146, 225, 305)
    }
    assert steps[225] == pytest.approx(125, abs=2)
    assert 95 < steps[146] < steps[225] < steps[305] < 155


def test_node_power_of_the_paper_and_idle_of_the_laptop():
    model = PowerModel(presets.get("paper"))
    train = training_load(TINY, "train", 1024, presets.get("paper"))
    gpus = 3 * 75 + 225
    off = model.off_socket_w(train.cpu_load, train.dram_load, gpus)
    node = gpus + off + model.package_w(train.cpu_load) + model.dram_w(train.dram_load)
    assert node == pytest.approx(1400, abs=20)
    assert PowerModel(LAPTOP).off_socket_w(0, 0, 30.0) == pytest.approx(18, abs=0.5)


def test_energies_by_hand():
    trace = PowerTrace(LAPTOP, T0)
    trace.extend(
        events(
            [
                (T0 + 2 * SECOND, 0, 2, 1.0, 1.0, 0.5, 0.25),
                (T0 + 3 * SECOND, 1, 2, 1.0, 1.0, 0.75, 0.0),
                (T0 + 5 * SECOND, 0, 0, 0.0, 0.0, 0.0, 0.0),
            ]
        )
    )
    end = T0 + 10 * SECOND
    # 15 W idle, 120 W at full load.
    assert trace.energy_j("gpu0", end) == pytest.approx(2 * 15 + 3 * 120 + 5 * 15, abs=1e-9)
    assert trace.energy_j("gpu1", end) == pytest.approx(3 * 15 + 7 * 120, abs=1e-9)
    # CPU load 0, 0.5, 1 (1.25 clipped), 0.75 of 12 to 65 W.
    package = 2 * 12 + 1 * 38.5 + 2 * 65 + 5 * 51.75
    assert trace.energy_j("cpu0.package", end) == pytest.approx(package, abs=1e-9)
    dram = 2 * 3 + 3 * 4.25 + 5 * 3
    assert trace.energy_j("cpu0.dram", end) == pytest.approx(dram, abs=1e-9)
    # Idle: board 12.8 W and loss 2 + 0.05·57.8… of DC = 30 + 12 + 3 + 12.8.
    dc = 57.8
    assert trace.power_w("node.ac", T0) == pytest.approx(dc + 2 + 0.05 * dc + 1e-4 * dc**2)
    # Full load of everything, at 4 s: board has + 0.5 W + 0.25·6 W + 25 % of 210 W.
    board = 12.8 + 0.5 + 0.25 * 6 + 0.25 * 210
    dc = 240 + 65 + 4.25 + board
    assert trace.power_w("off_socket", T0 + 4 * SECOND) == pytest.approx(
        board + 2 + 0.05 * dc + 1e-4 * dc**2
    )
    # A level holds before the first and after the last event, and instants are exact to the ns.
    assert trace.power_w("gpu0", [T0 - 5, T0 + 2 * SECOND - 1, T0 + 2 * SECOND]).tolist() == [
        15,
        15,
        120,
    ]
    assert trace.energy_j("gpu0", T0 - SECOND) == pytest.approx(-15)
    step = trace.energy_j("gpu0", T0 + 2 * SECOND + 1) - trace.energy_j("gpu0", T0 + 2 * SECOND)
    assert step == pytest.approx(120e-9, rel=1e-4)
    assert trace.mean_w("gpu0", T0 + SECOND, T0 + 3 * SECOND) == pytest.approx(67.5)
    assert trace.mean_w("gpu0", T0, T0) == 15


def test_unknown_channels_and_slots_are_refused():
    trace = PowerTrace(LAPTOP, T0)
    with pytest.raises(WattproofError, match=r"no channel 'gpu7'.*gpu0"):
        trace.power_w("gpu7", T0)
    with pytest.raises(WattproofError, match="node has 2 GPU"):
        trace.extend(events([(T0, 2, 2, 0.5, 0.5, 0, 0)]))


load = st.integers(0, 8).map(lambda i: i / 8)
record = st.tuples(
    st.integers(-50, 3000).map(lambda ms: T0 + ms * 10**6 + 3),
    st.sampled_from([-1, 0, 1]),
    st.just(2),
    load,
    load,
    load,
    load,
)
CHANNELS = ("gpu0", "gpu1", "cpu0.package", "cpu0.dram", "off_socket", "node.ac")


@settings(max_examples=40, deadline=None)
@given(st.lists(record, min_size=1, max_size=30), st.lists(st.integers(0, 30), max_size=4))
def test_result_does_not_depend_on_who_read_the_log_when(rows, cuts):
    """Out-of-order records in any pieces give the trace of the sorted log."""
    whole = PowerTrace(LAPTOP, T0)
    whole.extend(events(sorted(rows, key=lambda row: row[0])))
    pieces = PowerTrace(LAPTOP, T0)
    edges = sorted({0, len(rows), *(c for c in cuts if c < len(rows))})
    for a, b in itertools.pairwise(edges):
        pieces.extend(events(rows[a:b]))
    t = T0 + np.arange(-100, 4000, 37) * 10**6
    for channel in CHANNELS:
        assert pieces.power_w(channel, t).tolist() == whole.power_w(channel, t).tolist()
        assert pieces.energy_j(channel, t) == pytest.approx(whole.energy_j(channel, t), abs=1e-9)


def test_events_before_the_start_count_in_their_own_order():
    """A late reader of the log may meet the older of two early events second."""
    early = [(T0 - 10, -1, 2, 0.0, 0.0, 0.5, 0.5), (T0 - 20, -1, 2, 0.0, 0.0, 0.0, 0.0)]
    whole, pieces = PowerTrace(LAPTOP, T0), PowerTrace(LAPTOP, T0)
    whole.extend(events(early))
    for row in early:
        pieces.extend(events([row]))
    idle = PowerTrace(LAPTOP, T0).power_w("cpu0.package", T0)
    assert whole.power_w("cpu0.package", T0) == pieces.power_w("cpu0.package", T0) > idle


@settings(max_examples=40, deadline=None)
@given(st.lists(record, max_size=30), st.lists(st.integers(-500, 5000), min_size=3, max_size=3))
def test_energy_is_additive_and_the_sum_of_its_parts(rows, instants):
    trace = PowerTrace(LAPTOP, T0)
    trace.extend(events(sorted(rows, key=lambda row: row[0])))
    a, b, c = (T0 + ms * 10**6 for ms in sorted(instants))

    def energy(channel, start, end):
        return trace.energy_j(channel, end) - trace.energy_j(channel, start)

    for channel in CHANNELS:
        parts = energy(channel, a, b) + energy(channel, b, c)
        assert parts == pytest.approx(energy(channel, a, c), abs=1e-9)
        # The right edge of a step belongs to the next level, so compare with a fine sum of levels.
        grid = np.arange(a, c, 10**6) + 500_000
        levels = trace.power_w(channel, grid)
        assert energy(channel, a, c) == pytest.approx(levels.sum() * 1e-3, abs=1e-3)
    parts = sum(energy(channel, a, c) for channel in CHANNELS if channel != "node.ac")
    assert energy("node.ac", a, c) == pytest.approx(parts, abs=1e-9)


def test_gpu_power_is_monotone_from_idle_to_limit():
    for preset in ("laptop", "paper"):
        p = presets.get(preset)
        model, x = PowerModel(p), np.linspace(0, 1, 201)
        assert model.gpu_w(0.0, 0.0) == p.gpu.idle_w
        assert model.gpu_w(1.0, 1.0) == pytest.approx(p.gpu.limit_w, abs=1e-9)
        assert (np.diff(model.gpu_w(x, 0.3)) > 0).all()
        assert (np.diff(model.gpu_w(0.3, x)) > 0).all()
