"""Decoding the streams of the LMGs: pure functions, no port."""

import random
from collections import Counter
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmg_device import Device

from wattproof.sources.base import Reading, Status
from wattproof.sources.meters import lmg450, lmg670
from wattproof.sources.meters.lmg_counters import cycles_between
from wattproof.sources.meters.lmg_lines import Decoder

STEP = 9_934  # counts of a cycle of 0.1 s at 99 338 Hz, rounded
CYCLE_NS = 100_000_000
START_NS = 10**12


def line(cycle: int, watts: str = "250.5", count0: int = 100, sctc0: int = 5_000) -> bytes:
    count, sctc = (count0 + cycle) % 2**16, (sctc0 + cycle * STEP) % 2**31
    return f"{count};{sctc};0.1000020;{watts}\r\n".encode()


def stamped(cycle: int, watts: str = "250.5", shift_ns: int = 0) -> bytes:
    ns = cycle * CYCLE_NS + shift_ns
    return f"2015:01:21D17:20:{ns // 10**9:02d}.{ns % 10**9:09d}+0000;0.1;{watts}\n".encode()


def decoder(channels: int = 1) -> Decoder:
    parse = partial(lmg450.parse, channels=channels)
    return Decoder("node.ac", parse, lmg450.SCTC, 0.1)


def decode(lines: Sequence[tuple[float, bytes]], subject: Decoder | None = None) -> list[Reading]:
    """Decode (cycle of arrival, bytes)."""
    subject = subject or decoder()
    found: list[Reading] = []
    for cycle, text in lines:
        found += subject.decode(text, START_NS + round(cycle * CYCLE_NS))
    return found


def decode_stamps(lines: Sequence[tuple[float, bytes]]) -> list[Reading]:
    parse = partial(lmg670.parse, channels=1)
    return decode(lines, Decoder("node.ac", parse, lmg670.STAMPS, 0.1))


def device_ns(cycle: int, sctc0: int = 5_000) -> int:
    return (sctc0 + cycle * STEP) * 10**9 // 99_338


def statuses(readings: Sequence[Reading]) -> list[str]:
    return [reading.status.value for reading in readings]


# ---------------------------------------------------------------- counters: LMG95, 450, 500


def test_device_clock_is_the_raw_sample_counter() -> None:
    """measurement.md 13.1: 49 689 counts are 0.5002 s; not rebased to 0."""
    first, second = decode([(0, b"1;10000;0.5002;100\r\n"), (5, b"2;59689;0.5002;100\r\n")])
    assert first.device_ns == 10_000 * 10**9 // 99_338
    assert first.device_ns is not None
    assert second.device_ns is not None
    assert (second.device_ns - first.device_ns) / 1e9 == pytest.approx(0.5002, abs=1e-5)
    assert first.start_ns == first.end_ns == START_NS


def test_lines_of_a_real_lmg95() -> None:
    """As logged by cuveland/lmgtools (measurement.md 13.1): one cycle each, to 0.01 %."""
    cycles = [(10_267 + i, 434_503_856 + i * 49_689) for i in range(9)]
    lengths = (0.500197, 0.500217, 0.500207, 0.500217, 0.500197)
    lines = [
        f"{count};{sctc};{lengths[i % 5]:.6f};0.0\r\n".encode()
        for i, (count, sctc) in enumerate(cycles)
    ]
    subject = Decoder("node.ac", partial(lmg450.parse, channels=1), lmg450.SCTC, 0.5)
    readings = decode([(5 * i, text) for i, text in enumerate(lines)], subject)
    assert statuses(readings) == ["ok"] * 9
    assert [r.value for r in readings] == [0.0] * 9


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**31 - 1), st.integers(2, 200))
def test_both_counters_wrap_without_a_trace(count0: int, sctc0: int, cycles: int) -> None:
    readings = decode([(i, line(i, "250.5", count0, sctc0)) for i in range(cycles)])
    assert [r.status for r in readings] == [Status.OK] * cycles
    assert [r.device_ns for r in readings] == [device_ns(i, sctc0) for i in range(cycles)]


@given(st.sets(st.integers(1, 98), max_size=60), st.integers(0, 2**16 - 1))
def test_lost_lines_become_missing_rows(lost: set[int], count0: int) -> None:
    """Every lost cycle is a row, and no good line is taken for a lost one."""
    kept = [i for i in range(100) if i not in lost]
    readings = decode([(i, line(i, "1", count0)) for i in kept])
    assert len(readings) == 100
    assert sum(r.status is Status.MISSING for r in readings) == len(lost)
    assert all(r.value is None and r.device_ns is None for r in readings if r.status != Status.OK)
    good = [r.device_ns for r in readings if r.status is Status.OK]
    assert good == [device_ns(i) for i in kept]


@given(
    st.sets(st.integers(1, 98).filter(lambda i: i % 4), max_size=60),  # never four in a row
    st.randoms(use_true_random=False),
)
def test_damaged_lines_are_garbled_and_do_no_harm(hurt: set[int], chance: object) -> None:
    """Damage of any kind costs the damaged line, never another one, and never the clock."""
    damage = [
        lambda t: t[:7] + b"\r\n",
        lambda t: b"\xff\x00\x13" + t,
        lambda t: t.replace(b";", b",", 1),
        lambda t: t[:-3] + b";7;7\r\n",
        lambda t: b"9" + t,  # still parses: counter 9100 and more
        lambda t: t.replace(b";", b";1", 1),  # still parses: wrong sample counter
        lambda t: t[1:],  # lost its first digit
    ]
    lines = []
    for i in range(100):
        text = line(i)
        if i in hurt:
            text = chance.choice(damage)(text)  # type: ignore[attr-defined]
        lines.append((i, text))
    readings = decode(lines)
    good = [r.device_ns for r in readings if r.status is Status.OK]
    assert good == [device_ns(i) for i in range(100) if i not in hurt]
    assert len(readings) == 100


def test_damaged_first_line_costs_no_other_line() -> None:
    readings = decode([(0, b"7;5000;0.100002;250\r\n"), *((i, line(i)) for i in range(1, 8))])
    assert [r.value for r in readings if r.value is not None] == [250, *[250.5] * 7]
    assert readings[-1].device_ns == device_ns(7)


@pytest.mark.parametrize("make", [line, stamped])
def test_repeated_line_is_not_a_second_value(make) -> None:  # type: ignore[no-untyped-def]
    run = decode if make is line else decode_stamps
    readings = run([(0, make(0)), (1, make(1)), (1, make(1)), (2, make(2))])
    assert statuses(readings) == ["ok", "ok", "garbled", "ok"]
    # It stands for no cycle: one that is lost at the same time is still counted.
    readings = run([(0, make(0)), (1, make(1)), (1, make(1)), *((i, make(i)) for i in range(3, 8))])
    assert statuses(readings).count("missing") == 1


@pytest.mark.parametrize(
    ("watts", "value", "status"),
    [
        ("100.25;200.5", 300.75, Status.OK),
        ("1.0025E+02;-5.0E-01", 99.75, Status.OK),
        ("9.91E+37;200", None, Status.NOT_A_NUMBER),
        ("200;9.91000E+37", None, Status.NOT_A_NUMBER),
        ("9.9E+37;200", None, Status.OVERRANGE),
        ("-9.9E+37;200", None, Status.OVERRANGE),
        ("nan;200", None, Status.GARBLED),
        ("inf;200", None, Status.GARBLED),
    ],
)
def test_sum_of_channels_and_codes(watts: str, value: float | None, status: Status) -> None:
    (reading,) = decode([(0, f"1;5000;0.1;{watts}\r\n".encode())], decoder(channels=2))
    assert (reading.value, reading.status) == (value, status)
    assert (reading.device_ns is None) == (status is Status.GARBLED)


@given(st.integers(0, 23), st.sampled_from(b"0123456789.E+;\x80"))
def test_no_damaged_digit_of_a_power_passes_for_a_value(at: int, byte: int) -> None:
    text = bytearray(b"7;5000;0.1;2.505000E+02;2.505000E+02")
    text[11 + at] = byte
    parsed = lmg450.parse(bytes(text), 1, repeats=2)
    assert parsed is None or parsed.powers_w == (250.5,)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_line_or_none(noise: bytes) -> None:
    found = lmg450.parse(noise, 1)
    assert found is None or (found.count in range(2**16) and 0 <= found.ticks < 2**31)
    assert lmg670.parse(noise, 1) is None


@pytest.mark.parametrize("outage", [600, 70_000, 300_000, 900_000])
def test_outage_is_counted_over_any_number_of_wraps(outage: int) -> None:
    """65 536 cycles of 0.1 s are 1.8 h, 2^31 counts are 6 h: 900 000 cycles are 25 h."""
    readings = decode([(i, line(i)) for i in (*range(10), *range(10 + outage, 20 + outage))])
    found = Counter(statuses(readings))
    assert found == {"ok": 20, "missing": outage}
    assert readings[-1].device_ns == device_ns(19 + outage)


def test_counter_that_jumps_alone_costs_nothing_but_is_told() -> None:
    jumped = [(i, line(i, "1", 507 if i >= 5 else 100)) for i in range(12)]
    readings = decode(jumped)
    assert statuses(readings) == [*["ok"] * 5, "garbled", *["ok"] * 7]
    assert [r.device_ns for r in readings if r.value] == [device_ns(i) for i in range(12)]


def test_device_that_was_switched_off_goes_on_by_arrival() -> None:
    """Its counters begin anew: one row says so, and its clock goes on as if it had not."""
    late = 0.3  # usual delay, in cycles
    before = [(i + late, line(i)) for i in range(20)]
    after = [(i + late, line(i - 100, "1", 0, 77)) for i in range(100, 110)]
    readings = decode([*before, *after])
    assert statuses(readings) == [*["ok"] * 20, "device_lost", *["ok"] * 10]
    stamps = [r.device_ns for r in readings if r.device_ns is not None]
    expected = [device_ns(0) + i * STEP / 99_338 * 1e9 for i in (*range(20), *range(100, 110))]
    assert stamps == pytest.approx(expected, abs=2e6)


def test_late_burst_costs_nothing() -> None:
    """The host stalls for three seconds, then reads what has piled up."""
    lines = [(i if i < 20 else max(i, 50), line(i)) for i in range(60)]
    readings = decode(lines)
    assert statuses(readings) == ["ok"] * 60


def test_cycles_between_wants_both_counters_to_agree() -> None:
    parse = partial(lmg450.parse, channels=1)
    old, new = parse(line(0)), parse(line(3))
    assert old is not None
    assert new is not None
    assert cycles_between(old, new, lmg450.SCTC, 0.3) == 3
    wrong = parse(line(3, "1", 101))
    assert wrong is not None
    assert cycles_between(old, wrong, lmg450.SCTC, 0.3) is None
    assert cycles_between(old, old, lmg450.SCTC, 0.3) is None


# ---------------------------------------------------------------- time stamps: LMG670


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2015:01:21D17:20:55.437817000+0000", 1_421_860_855_437_817_000),
        ("2015:01:21D18:20:55.437817000+0100", 1_421_860_855_437_817_000),
        ("2015:01:21D11:50:55.437817000-0530", 1_421_860_855_437_817_000),
        ("2015:01:21D17:20:55.5", 1_421_860_855_500_000_000),
        ("2016:02:29D00:00:00", 1_456_704_000_000_000_000),
        ("2015:02:29D00:00:00", None),
        ("2015:13:01D00:00:00", None),
        ("2015:01:21 17:20:55", None),
        ("9.91E+37", None),
    ],
)
def test_device_time(text: str, ns: int | None) -> None:
    assert lmg670.parse_stamp(text) == ns


def test_lines_of_a_real_lmg670() -> None:
    """As logged by cuveland/lmgtools (measurement.md 13.1)."""
    stamps = ("55.437817", "55.937918", "56.438020", "56.938122", "57.438237", "57.938352")
    lengths = (0.500101824,) * 3 + (0.500115008,) * 3
    lines = [
        f"2015:01:21D17:20:{stamp}000+0000;{length};0.000000E+00\n".encode()
        for stamp, length in zip(stamps, lengths, strict=True)
    ]
    subject = Decoder("node.ac", partial(lmg670.parse, channels=1), lmg670.STAMPS, 0.5)
    readings = decode([(5 * i, text) for i, text in enumerate(lines)], subject)
    assert statuses(readings) == ["ok"] * 6
    assert readings[0].device_ns == 1_421_860_855_437_817_000


@given(st.sets(st.integers(1, 90), max_size=60))
def test_lost_stamped_lines_become_missing_rows(lost: set[int]) -> None:
    kept = [i for i in range(100) if i not in lost]
    readings = decode_stamps([(i, stamped(i)) for i in kept])
    assert len(readings) == 100
    assert sum(r.status is Status.MISSING for r in readings) == len(lost)
    first = readings[0].device_ns
    assert first is not None
    good = [r.device_ns for r in readings if r.status is Status.OK]
    assert good == [first + i * CYCLE_NS for i in kept]


@pytest.mark.parametrize("shift_s", [-1.0, 0.03, 3.0, 8.0])
def test_damaged_stamp_costs_one_line(shift_s: float) -> None:
    lines = [(i, stamped(i, shift_ns=round(shift_s * 1e9) if i == 30 else 0)) for i in range(60)]
    readings = decode_stamps(lines)
    assert statuses(readings) == [*["ok"] * 30, "garbled", *["ok"] * 29]


@pytest.mark.parametrize("shift_s", [-2.0, 3.0, 30.0])
def test_clock_that_is_set_is_told_and_bridged(shift_s: float) -> None:
    lines = [(i, stamped(i, shift_ns=round(shift_s * 1e9) if i >= 30 else 0)) for i in range(60)]
    readings = decode_stamps(lines)
    assert statuses(readings) == [*["ok"] * 30, "device_lost", *["ok"] * 30]
    stamps = [r.device_ns for r in readings if r.device_ns is not None]
    assert stamps == [stamps[0] + i * CYCLE_NS for i in range(60)]


# ---------------------------------------------------------------- whole streams, faults at random

JUMPS = ("count glitch", "counters jump")
COSTS = ("garbage line", "garbage in line", "truncated", "duplicate", "overrange", "nan", "pause")


def stream(
    model: str, seed: int, one_in: int, kinds: Sequence[str]
) -> tuple[Device, list[Reading]]:
    """400 cycles of a simulated device, one in so many with a fault, through the decoder."""
    chance = random.Random(seed)
    device = Device(
        model=model,
        now_s=1000.0,
        seed=seed,
        count=chance.randrange(2**16),
        stamp0=chance.randrange(2**31),
    )
    if model == "LMG670":
        commands = "*zlang short\nCYCL 0.1\nACTN;TSNORM?;DURNORM?;P1?\nCONT ON\n"
        parse, clock = partial(lmg670.parse, channels=1), lmg670.STAMPS
    else:
        commands = ":SYSTem:LANGuage SHORT\nCYCL 0.1\nACTN;COUNT?;SCTC?;CYCR?;P1?;P1?\nCONT ON\n"
        parse, clock = partial(lmg450.parse, channels=1, repeats=2), lmg450.SCTC
    device.feed(commands.encode(), 1000.0)
    subject = Decoder("node.ac", parse, clock, 0.1)
    readings: list[Reading] = []
    rest = b""
    for cycle in range(400):
        if 5 < cycle < 380 and chance.random() < 1 / one_in:
            device.plan(chance.choice(kinds), chance.randrange(1, 12))
        now = 1000.0 + 0.1 * (cycle + 1)
        for piece in device.due(now):
            *lines, rest = (rest + piece).split(b"\n")
            for text in lines:
                readings += subject.decode(text, round((now + 0.03 * chance.random()) * 1e9))
    return device, readings + subject.flush()


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("one_in", [3, 20])
@pytest.mark.parametrize("model", ["LMG450", "LMG670"])
def test_random_faults(model: str, one_in: int, seed: int) -> None:
    """Whatever happens: true values only, once, in order, and no lost cycle without a row."""
    for kinds in (COSTS, (*COSTS, "late", "flood", *JUMPS)):
        device, readings = stream(model, seed, one_in, kinds)
        truth = {round(c.watts, 3): c for c in device.cycles}
        cycles = [truth[round(r.value, 3)] for r in readings if r.value is not None]
        assert {c.fate for c in cycles} == {"good"}
        indices = [c.index for c in cycles]
        assert indices == sorted(set(indices))
        stamps = [r.device_ns for r in readings if r.device_ns is not None]
        assert stamps == sorted(set(stamps))
        if kinds is COSTS:
            inside = [c for c in device.cycles if indices[0] <= c.index <= indices[-1]]
            assert indices == [c.index for c in inside if c.fate == "good"]
            assert sum(r.value is None for r in readings) >= len(inside) - len(indices)
