"""The simulated LMG450 without a port: language, clock, cycles, errors, drop-outs."""

import numpy as np
import pytest

from wattproof.virtual import truth
from wattproof.virtual.meter import Dialect
from wattproof.virtual.model import PowerTrace, events
from wattproof.virtual.node import SCTC_HZ

SECOND = 10**9
CYCLE = 10**8
ACTN = b"ACTN;COUNT?;SCTC?;CYCR?;P1?\r\n"
START = b"*cls\r\n*rst\r\n:SYSTem:LANGuage SHORT\r\n"


def switch_on(bench, rows=()):
    trace = PowerTrace(bench.spec.parameters, bench.spec.t0_ns)
    trace.extend(events(rows))
    return Dialect(bench.spec, trace, bench.spec.t0_ns), bench.spec.t0_ns


def stream(dialect, begin, seconds, step_s=0.01):
    """Poll the meter as the daemon does; returns fields and delivery times."""
    lines, times = [], []
    for now in range(begin, begin + int(seconds * SECOND), int(step_s * SECOND)):
        for line in dialect.due(now).decode("ascii").splitlines():
            lines.append(line.split(";"))
            times.append(now)
    return lines, np.array(times)


def begin(dialect, now, cycle="0.1"):
    assert dialect.feed(START + f"CYCL {cycle}\r\nFRMT ASCII\r\n".encode() + ACTN, now) == b""
    assert dialect.due(now + 10 * SECOND) == b""  # silent until asked to go on
    dialect.feed(b"CONT ON\r\n", now)


def unwrapped(values, modulus):
    values = np.array(values, np.int64)
    return values[0] + np.concatenate([[0], np.cumsum(np.diff(values) % modulus)])


def test_language(bench):
    dialect, now = switch_on(bench())
    name = dialect.feed(b"*IDN?\r\n", now)
    assert b"LMG450" in name
    assert b"SIMULATED" in name
    assert name.endswith(b"\r\n")
    dialect.feed(b"CYCL 0.1\r\n", now)  # short command before the short set is chosen
    assert b"-113" in dialect.feed(b"syst:err:all?\r\n", now)
    assert dialect.feed(b"syst:err:all?\r\n", now) == b'0,"No error"\r\n'
    dialect.feed(START, now)
    dialect.feed(b"iam manual\r\nirng 2\r\nuam manual\r\nurng 250\r\n", now)
    assert dialect.range_w == 500
    answers = dialect.feed(b"CYCL?\r\nurng?\r\nirng?\r\n", now).split()
    assert [float(answer) for answer in answers] == [0.5, 250, 2]
    assert dialect.feed(b"syst:err:all?\r\n", now) == b'0,"No error"\r\n'
    dialect.feed(b"CYCL 0.01\r\nbogus\r\nACTN;XYZ?\r\nirng two\r\n", now)
    assert dialect.feed(b"syst:err:all?\r\n", now).count(b"-") == 4
    dialect.feed(b"CONT ON\r\n", now)
    assert dialect.due(now + 10 * SECOND) == b""  # nothing was asked for by ACTN


def test_commands_may_come_in_pieces(bench):
    dialect, now = switch_on(bench())
    assert dialect.feed(b"*id", now) == b""
    assert dialect.feed(b"n?\r", now) != b""
    assert dialect.feed(b"\n", now) == b""


def test_only_the_items_asked_in_their_order(bench):
    dialect, now = switch_on(bench())
    dialect.feed(START + b"CYCL 0.1\r\nACTN;P1?;COUNT?\r\nCONT ON\r\n", now)
    lines, _ = stream(dialect, now, 1)
    assert {len(line) for line in lines} == {2}
    counts = [int(count) for _, count in lines]
    assert (np.diff(counts) % 65_536).tolist() == [1] * (len(counts) - 1)
    dialect.feed(b"CONT OFF\r\nGTL\r\n", now + SECOND)
    assert dialect.due(now + 5 * SECOND) == b""


def test_power_is_the_true_mean_of_each_cycle_within_the_accuracy(bench):
    b = bench()
    rng = np.random.default_rng(5)
    t = b.spec.t0_ns + np.sort(rng.integers(0, 60 * SECOND, 400))
    rows = [(int(x), int(rng.integers(0, 2)), 2, *rng.random(4)) for x in t]
    dialect, now = switch_on(b, rows)
    b.spec.activity_path.write_bytes(events(rows).tobytes())
    begin(dialect, now)
    lines, delivered = stream(dialect, now, 50)
    known = truth.load(b.truth)
    offset_ns, drift_ppm, anchor_ns = known.meter_clock()
    counts = unwrapped([line[1] for line in lines], 2**31)
    device_ns = counts / SCTC_HZ * 1e9
    end = device_ns + offset_ns + drift_ppm * 1e-6 * (device_ns - anchor_ns)
    length = np.array([float(line[2]) for line in lines]) * 1e9 * (1 + drift_ppm * 1e-6)
    true_w = known.energy_j("node.ac", (end - length).astype(int), end.astype(int)) / length * 1e9
    shown_w = np.array([float(line[3]) for line in lines])
    assert np.ptp(true_w) > 50
    limit = 0.0007 * true_w + 0.0004 * b.spec.parameters.meter.range_w + 0.01
    assert (np.abs(shown_w - true_w) <= limit).all()
    # One gain and one constant for the session: a line fits to the last digit shown (6 digits).
    residual = shown_w - np.polyval(np.polyfit(true_w, shown_w, 1), true_w)
    assert np.abs(residual).max() < 2e-3
    late_s = (delivered - end) * 1e-9
    assert late_s.min() >= 0.02
    assert late_s.max() <= 0.06 + 0.011


def test_clock_of_the_meter_is_its_own(bench):
    b = bench()
    dialect, now = switch_on(b)
    begin(dialect, now, "0.5")
    lines, delivered = stream(dialect, now, 900, 0.25)
    counts = unwrapped([line[1] for line in lines], 2**31)
    # Against delivery times the rate shows up to their jitter over 15 min.
    rate = (counts[-1] - counts[0]) / (delivered[-1] - delivered[0]) * 1e9
    ppm = (rate / SCTC_HZ - 1) * 1e6
    assert ppm == pytest.approx(b.spec.meter.rate_ppm, abs=0.3 / 900 * 1e6)
    assert truth.load(b.truth).meter_clock().drift_ppm == pytest.approx(
        -b.spec.meter.rate_ppm, abs=0.01
    )
    # Cycles are whole periods of the true mains, not exactly what was asked for.
    cycles = np.array([float(line[2]) for line in lines])
    assert cycles == pytest.approx(25 / b.spec.meter.mains_hz, abs=2e-5)
    steps = np.diff(counts)
    whole = np.diff(unwrapped([line[0] for line in lines], 2**16))
    assert steps / whole / SCTC_HZ == pytest.approx(cycles[1:], abs=1e-6)


def test_counters_wrap_and_dropouts_show_in_count(bench):
    import dataclasses

    b = bench(meter={"dropout_probability": 0.05})
    meter = dataclasses.replace(
        b.spec.meter, sctc_start=2**31 - 20 * SCTC_HZ, count_start=65_536 - 150
    )
    b.spec = dataclasses.replace(b.spec, meter=meter)
    dialect, now = switch_on(b)
    begin(dialect, now)
    lines, _ = stream(dialect, now, 200)
    sctc, count = (np.array([int(line[i]) for line in lines]) for i in (1, 0))
    assert (np.diff(sctc) < 0).sum() == 1
    assert (np.diff(count) < 0).sum() == 1
    assert sctc.min() >= 0
    assert count.max() <= 65_535
    steps = np.diff(unwrapped(count, 2**16))
    lost = (steps - 1).sum()
    assert lost / (lost + len(lines)) == pytest.approx(0.05, abs=0.02)
    length = np.diff(unwrapped(sctc, 2**31)) / steps
    assert np.ptp(length) == 0  # cycles go on at their own pace through lost ones


def test_errors_are_drawn_within_their_limits(tmp_path):
    from wattproof.virtual import presets
    from wattproof.virtual.node import draw

    specs = [draw("laptop", presets.get("laptop"), s, [1], 0, tmp_path) for s in range(300)]
    for name, limit in (("gain_error", 0.0007), ("range_error", 0.0004), ("rate_ppm", 40)):
        values = [getattr(spec.meter, name) for spec in specs]
        assert -limit <= min(values) < -0.9 * limit
        assert 0.9 * limit < max(values) <= limit


def test_overload_is_not_a_power(bench):
    b = bench()
    dialect, now = switch_on(b)
    dialect.feed(START + b"irng 0.1\r\nurng 250\r\nCYCL 0.1\r\nACTN;P1?\r\nCONT ON\r\n", now)
    lines, _ = stream(dialect, now, 1)
    assert {line[0] for line in lines} == {"9.9E+37"}  # 63 W on a range of 25 W
