"""The LMG450 driver: line decoding as pure functions, and the whole driver on a real pty."""

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmg_simulator import LmgSimulator

from wattproof.errors import WattproofError
from wattproof.sources.base import Reading, Status
from wattproof.sources.meters import lmg450
from wattproof.sources.meters.lmg450 import Lmg450Source
from wattproof.sources.meters.lmg_lines import Decoder, parse

STEP = 9_934  # counts of a cycle of 0.1 s at 99 338 Hz, rounded
CYCLE_NS = 100_000_000


def line(cycle: int, watts: str = "250.5", count0: int = 100, sctc0: int = 5_000) -> bytes:
    count, sctc = (count0 + cycle) % 2**16, (sctc0 + cycle * STEP) % 2**31
    return f"{count};{sctc};0.1000020;{watts}\r\n".encode()


def decode(lines: Sequence[tuple[int, bytes]], channels: int = 1) -> list[Reading]:
    """Decode (cycle of arrival, bytes)."""
    decoder = Decoder("node.ac", channels, 0.1)
    found: list[Reading] = []
    for cycle, text in lines:
        found += decoder.decode(text, 10**12 + cycle * CYCLE_NS)
    return found


def test_device_clock_is_the_raw_sample_counter() -> None:
    """measurement.md 13.1: 49 689 counts are 0.5002 s; not rebased to 0."""
    first, second = decode([(0, b"1;10000;0.5002;100\r\n"), (5, b"2;59689;0.5002;100\r\n")])
    assert first.device_ns == 10_000 * 10**9 // 99_338
    assert first.device_ns is not None
    assert second.device_ns is not None
    assert (second.device_ns - first.device_ns) / 1e9 == pytest.approx(0.5002, abs=1e-5)
    assert first.start_ns == first.end_ns == 10**12


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**31 - 1), st.integers(2, 200))
def test_both_counters_wrap_without_a_trace(count0: int, sctc0: int, cycles: int) -> None:
    readings = decode([(i, line(i, "250.5", count0, sctc0)) for i in range(cycles)])
    assert [r.status for r in readings] == [Status.OK] * cycles
    expected = [(sctc0 + i * STEP) * 10**9 // 99_338 for i in range(cycles)]
    assert [r.device_ns for r in readings] == expected


@given(st.sets(st.integers(1, 98), max_size=60), st.integers(0, 2**16 - 1))
def test_lost_lines_become_missing_rows(lost: set[int], count0: int) -> None:
    """Every lost cycle is a row, and no good line is taken for a lost one."""
    kept = [i for i in range(100) if i not in lost]
    readings = decode([(i, line(i, "1", count0)) for i in kept])
    assert len(readings) == 100
    assert sum(r.status is Status.MISSING for r in readings) == len(lost)
    assert all(r.value is None and r.device_ns is None for r in readings if r.status != Status.OK)
    good = [r.device_ns for r in readings if r.status is Status.OK]
    assert good == [(5_000 + i * STEP) * 10**9 // 99_338 for i in kept]


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
    good = {r.device_ns for r in readings if r.status is Status.OK}
    truth = {(5_000 + i * STEP) * 10**9 // 99_338 for i in range(100) if i not in hurt}
    assert good == truth
    assert len(readings) == 100


def test_damaged_first_line_costs_three_more_lines_only() -> None:
    readings = decode([(0, b"7;5000;0.100002;250\r\n"), *((i, line(i)) for i in range(1, 8))])
    assert [r.status for r in readings] == [Status.OK, *[Status.GARBLED] * 3, *[Status.OK] * 4]
    assert readings[-1].device_ns == (5_000 + 7 * STEP) * 10**9 // 99_338


def test_repeated_line_is_not_a_second_value() -> None:
    readings = decode([(0, line(0)), (1, line(1)), (1, line(1)), (2, line(2))])
    assert [r.status for r in readings] == [
        Status.OK,
        Status.OK,
        Status.GARBLED,
        Status.OK,
    ]


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
    (reading,) = decode([(0, f"1;5000;0.1;{watts}\r\n".encode())], channels=2)
    assert (reading.value, reading.status) == (value, status)
    assert (reading.device_ns is None) == (status is Status.GARBLED)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_line_or_none(noise: bytes) -> None:
    found = parse(noise, 1)
    assert found is None or (0 <= found.count < 2**16 and 0 <= found.sctc < 2**31)


# ---------------------------------------------------------------- on a pty


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("SETTLE_S", 0.02), ("QUIET_S", 0.05), ("ANSWER_S", 1.0)):
        monkeypatch.setattr(lmg450, name, seconds)


def collect(source: Lmg450Source, rows: int, limit_s: float = 5.0) -> list[Reading]:
    found: list[Reading] = []
    end = time.monotonic() + limit_s
    while len(found) < rows and time.monotonic() < end:
        found += source.read()
    return found


def test_set_up_stream_and_close() -> None:
    # An old stream is running, and the bytes arrive torn.
    text = b"".join(line(i) for i in range(4))
    pieces = [text[i : i + 11] for i in range(0, len(text), 11)]
    meter = LmgSimulator(list(pieces), stale=b"1;2;3;4\r\n")
    source = Lmg450Source(meter.port, channels=[1, 3], range_v=250, range_a=16, simulated=True)
    description = source.open()
    source.close()
    time.sleep(0.1)
    assert meter.commands == [
        "CONT OFF",
        "*cls",
        "*rst",
        ":SYSTem:LANGuage SHORT",
        "*idn?",
        "uam manual",
        "urng 250",
        "iam manual",
        "irng 16",
        "CYCL 0.1",
        "FRMT ASCII",
        "ACTN;COUNT?;SCTC?;CYCR?;P1?;P3?",
        "CONT ON",
        "CONT OFF",
        "GTL",
    ]
    (channel,) = description.channels
    assert (channel.name, channel.unit, channel.kind) == ("node.ac", "W", "power")
    assert (channel.clock, channel.averaging_s, channel.device) == ("device", 0.1, "SIM-42")
    assert channel.accuracy_reading == 0.0007
    assert channel.accuracy_range_w == pytest.approx(0.0004 * 250 * 16 * 2)
    assert description.identity["model"] == "LMG450 SIMULATED"
    assert description.simulated
    meter.unplug()


def test_torn_bytes_faults_and_silence_on_the_line() -> None:
    whole = b"".join(line(i) for i in range(3))
    torn: list[bytes | None] = [whole[i : i + 11] for i in range(0, len(whole), 11)]
    faults = [b"\x80\xfe;;\r\n", line(4), line(7), line(8, "9.91E+37"), line(9, "9.9E+37")]
    meter = LmgSimulator([*torn, *faults], pace_s=0.01)
    source = Lmg450Source(meter.port, cycle_s=0.1)
    description = source.open()
    assert description.channels[0].accuracy_range_w is None
    statuses = [r.status for r in collect(source, 11)]
    assert statuses == [
        *[Status.OK] * 3,
        Status.GARBLED,
        Status.OK,
        *[Status.MISSING] * 2,
        Status.OK,
        Status.NOT_A_NUMBER,
        Status.OVERRANGE,
        Status.TIMEOUT,  # nothing for five cycles
    ]
    meter.unplug()
    assert {r.status for r in collect(source, 1)} == {Status.DEVICE_LOST}
    with pytest.raises(WattproofError, match="is gone"):
        source.read()
    source.close()
    source.close()


def test_read_returns_soon_when_nothing_comes() -> None:
    meter = LmgSimulator([])
    source = Lmg450Source(meter.port, cycle_s=60.0)
    source.open()
    begin = time.monotonic()
    assert list(source.read()) == []
    assert time.monotonic() - begin < 1.0
    source.close()
    meter.unplug()


def test_mute_meter_and_missing_port() -> None:
    meter = LmgSimulator([], mute=True)
    with pytest.raises(WattproofError, match=r"does not answer '\*idn\?'.*RTS/CTS"):
        Lmg450Source(meter.port).open()
    meter.unplug()
    with pytest.raises(WattproofError, match=r"/nonexistent/tty.*sources\.meter\.port"):
        Lmg450Source("/nonexistent/tty").open()


def test_port_is_not_shared() -> None:
    meter = LmgSimulator([])
    first = Lmg450Source(meter.port)
    first.open()
    with pytest.raises(WattproofError, match="does not work"):
        Lmg450Source(meter.port).open()
    first.close()
    meter.unplug()
