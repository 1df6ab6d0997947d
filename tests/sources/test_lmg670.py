"""The LMG670 on loopback sockets: stream on one port, ``break`` on the next."""

import time
from collections import Counter
from collections.abc import Iterator

import pytest
from lmg_device import EPOCH_S, Device
from lmg_simulator import LmgSimulator

from wattproof.errors import WattproofError
from wattproof.sources.base import Reading, Source, Status
from wattproof.sources.endpoints import real_endpoints
from wattproof.sources.meters import create, lmg, lmg_setup

CHECK = ["*zlang scpi", "syst:err:all?", "*zlang short"]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, seconds in (
        (lmg_setup, "QUIET_S", 0.08),
        (lmg_setup, "ANSWER_S", 0.6),
        (lmg, "STUCK_S", 1.0),
        (lmg, "RETRY_S", (0.1, 0.2)),
    ):
        monkeypatch.setattr(module, name, seconds)


@pytest.fixture
def meter() -> Iterator[LmgSimulator]:
    device = Device(model="LMG670", channels=7, ranges_v=(250,), ranges_a=(5, 10))
    with LmgSimulator(device) as running:
        yield running


def source_of(meter: LmgSimulator, **settings: object) -> Source:
    chosen = {"driver": "lmg670", "port": meter.port, "cycle_s": 0.05, **settings}
    return create(chosen, real_endpoints())


def collect(source: Source, rows: int, limit_s: float = 12.0) -> list[Reading]:
    """Read until so many good rows stand at the end."""
    found: list[Reading] = []
    end = time.monotonic() + limit_s
    while len(found) < rows or any(r.value is None for r in found[-rows:]):
        assert time.monotonic() < end, Counter(r.status.value for r in found)
        found += source.read()
    return found


def check(meter: LmgSimulator, readings: list[Reading], set_ups: int = 0) -> None:
    truth = {round(c.watts, 3): c for c in meter.device.cycles}
    cycles = [(r, truth[round(r.value, 3)]) for r in readings if r.value is not None]
    indices = [c.index for _, c in cycles]
    assert indices == sorted(set(indices))
    assert [r.device_ns for r, _ in cycles] == [c.stamp for _, c in cycles]
    inside = [c for c in meter.device.cycles if indices[0] <= c.index <= indices[-1]]
    assert [c.index for c in inside if c.fate == "good"] == indices
    lost = sum(c.fate == "lost" for c in inside)
    # Without a number in the line it is time that counts: a set-up breaks a cycle off.
    missing = sum(r.status is Status.MISSING for r in readings)
    assert abs(missing - lost) <= set_ups


def test_commands_clock_and_goodbye(meter: LmgSimulator) -> None:
    source = source_of(meter, channels=[1, 2], range_v=250, range_a=10, accuracy_range=0.0002)
    description = source.open()
    readings = collect(source, 10)
    source.close()
    meter.wait_for("GTL")
    assert meter.device.commands == [
        "<BREAK>",
        "CONT OFF",
        "*rst;*cls",
        "*zlang short",
        "*idn?",
        *["uauto1 0", "urng1 250", "uauto2 0", "urng2 250", *CHECK],
        *["iauto1 0", "irng1 10", "iauto2 0", "irng2 10", *CHECK],
        *["CYCL 0.05", *CHECK],
        *["FRMT ASCII", "CYCL?", "urng1?", "irng1?", "*cls"],
        "ACTN;TSNORM?;DURNORM?;P1?;P2?",
        "CONT ON",
        "CONT OFF",
        "GTL",
    ]
    check(meter, readings)
    first = readings[0].device_ns
    assert first is not None
    assert abs(first / 1e9 - EPOCH_S) < 10.0
    (channel,) = description.channels
    assert (channel.accuracy_reading, channel.accuracy_range_w) == (None, 1.0)
    assert (channel.clock, channel.device) == ("device", "SIM-42")
    assert description.identity["model"] == "LMG670 SIMULATED"


def test_faults(meter: LmgSimulator) -> None:
    source = source_of(meter)
    source.open()
    readings = collect(source, 3)
    for number, kind in enumerate(("overrange", "nan", "pause", "duplicate", "truncated"), 1):
        meter.device.plan(kind, 6)
        while len(meter.device.faults) < number:
            readings += source.read()
        readings += collect(source, 9)
    source.close()
    trace = Counter(r.status.value for r in readings if r.value is None)
    assert trace == {"overrange": 1, "not_a_number": 1, "missing": 6, "garbled": 2}
    check(meter, readings)


@pytest.mark.parametrize(("kind", "size"), [("stuck", 0), ("deaf", 60.0), ("unplug", 1.0)])
def test_mending(meter: LmgSimulator, kind: str, size: float) -> None:
    """``deaf`` hears nothing for a minute, but for ``break`` on the other port."""
    source = source_of(meter)
    source.open()
    readings = collect(source, 3)
    if kind == "unplug":
        meter.unplug(size)
    else:
        meter.device.plan(kind, size)
    while all(r.value is not None for r in readings):
        readings += source.read()
    readings += collect(source, 8)
    source.close()
    check(meter, readings, set_ups=1)
    assert meter.device.unexpected == []


def test_refusals_and_absence(meter: LmgSimulator) -> None:
    with pytest.raises(WattproofError, match=r"refuses the current range 3 A.*range_a"):
        source_of(meter, range_a=3).open()
    host, port = meter.port.removeprefix("tcp://").split(":")
    with pytest.raises(WattproofError, match=r"cannot be reached.*refuses.*sources\.meter\.port"):
        source_of(meter, port=f"{host}:1").open()
    with pytest.raises(WattproofError, match="tcp://HOST:PORT"):
        source_of(meter, port="tcp://host:none")
    meter.device.model = "LMG95"
    with pytest.raises(WattproofError, match="is an LMG95, not an LMG670"):
        source_of(meter, port=f"{host}:{port}").open()
