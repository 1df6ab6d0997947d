"""LMG95, LMG450 and LMG500 on a pseudo-terminal and behind a box on the network."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lmg_device import Device
from lmg_simulator import LmgSimulator

from wattproof.errors import WattproofError
from wattproof.sources.base import Reading, Source, Status
from wattproof.sources.endpoints import real_endpoints
from wattproof.sources.meters import create, link, lmg, lmg_setup, settings_schema

CYCLE_S = 0.05
STREAM = ["FRMT ASCII", "CYCL?", "urng?", "irng?", "*cls"]
CHECK = ["lang scpi", "syst:err:all?", ":SYSTem:LANGuage SHORT"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, seconds in (
        (lmg_setup, "SETTLE_S", 0.02),
        (lmg_setup, "QUIET_S", 0.08),
        (lmg_setup, "ANSWER_S", 0.6),
        (lmg_setup, "QUERY_S", 0.2),
        (link, "BREAK_S", 0.02),
        (lmg, "STUCK_S", 1.0),
        (lmg, "RETRY_S", (0.1, 0.2)),
    ):
        monkeypatch.setattr(module, name, seconds)


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Callable[..., LmgSimulator]]:
    running: list[LmgSimulator] = []

    def make(device: Device | None = None, box: bool = False) -> LmgSimulator:
        meter = LmgSimulator(device or Device(), None if box else tmp_path / "tty", telnet=box)
        running.append(meter.__enter__())
        return meter

    yield make
    for meter in running:
        meter.__exit__()


def source_of(meter: LmgSimulator, driver: str = "lmg450", **settings: Any) -> Source:
    endpoints = real_endpoints()
    return create({"driver": driver, "port": meter.port, "cycle_s": CYCLE_S, **settings}, endpoints)


def collect(source: Source, enough: Callable[[list[Reading]], Any], limit_s: float = 8.0) -> Any:
    found: list[Reading] = []
    end = time.monotonic() + limit_s
    while not enough(found):
        assert time.monotonic() < end, Counter(r.status.value for r in found)
        begin = time.monotonic()
        found += source.read()
        assert time.monotonic() - begin < 1.0, "a streaming read returns soon"
    return found


def healthy(rows: int) -> Callable[[list[Reading]], bool]:
    """Enough: so many good rows at the end."""
    return lambda found: len(found) >= rows and all(r.value is not None for r in found[-rows:])


def compare(device: Device, readings: list[Reading]) -> None:
    """Each value that was recorded is that of a good cycle, once, in order."""
    truth = {round(c.watts, 3): c for c in device.cycles}
    values = [truth[round(r.value, 3)] for r in readings if r.value is not None]
    assert {cycle.fate for cycle in values} == {"good"}
    indices = [cycle.index for cycle in values]
    assert indices == sorted(set(indices))
    inside = [c for c in device.cycles if indices[0] <= c.index <= indices[-1]]
    assert [c.index for c in inside if c.fate == "good"] == indices
    lost = sum(c.fate == "lost" for c in inside)
    assert sum(r.status is Status.MISSING for r in readings) == lost


# ---------------------------------------------------------------- set-up


def test_set_up_stream_and_close(plug: Callable[..., LmgSimulator]) -> None:
    meter = plug()
    source = source_of(meter, channels=[1, 3], range_v=250, range_a=16)
    description = source.open()
    source.close()
    source.close()
    meter.wait_for("GTL")
    assert meter.device.commands == [
        "CONT OFF",
        "*cls",
        "*rst",
        ":SYSTem:LANGuage SHORT",
        "*idn?",
        *["uam manual", "urng 250", *CHECK],
        *["iam manual", "irng 16", *CHECK],
        *["CYCL 0.05", *CHECK],
        *STREAM,
        "ACTN;COUNT?;SCTC?;CYCR?;P1?;P3?;P1?;P3?",
        "CONT ON",
        "CONT OFF",
        "GTL",
    ]
    (channel,) = description.channels
    assert (channel.name, channel.unit, channel.kind) == ("node.ac", "W", "power")
    assert (channel.clock, channel.averaging_s, channel.device) == ("device", CYCLE_S, "SIM-42")
    assert channel.accuracy_reading == 0.0007
    assert channel.accuracy_range_w == pytest.approx(0.0004 * 250 * 16 * 2)
    assert description.identity["model"] == "LMG450 SIMULATED"
    kept = [description.identity[key] for key in ("range_v", "range_a", "cycle_s")]
    assert kept == [250, 16, CYCLE_S]
    with pytest.raises(WattproofError, match="not open"):
        source.read()


@pytest.mark.parametrize(
    ("driver", "model", "action", "accuracy"),
    [
        ("lmg95", "LMG95", "ACTN;COUNT?;SCTC?;CYCR?;P?", (None, None)),
        ("lmg500", "LMG500", "ACTN;COUNT?;SCTC?;CYCR?;P1?", (None, None)),
        ("lmg450", "LMG450", "ACTN;COUNT?;SCTC?;CYCR?;P1?", (0.0007, 0.5)),
    ],
)
def test_models_of_the_family(
    plug: Callable[..., LmgSimulator],
    driver: str,
    model: str,
    action: str,
    accuracy: tuple[float | None, float | None],
) -> None:
    meter = plug(Device(model=model))
    source = source_of(meter, driver, range_v=250, range_a=5, repeat_power=False)
    (channel,) = source.open().channels
    assert (channel.accuracy_reading, channel.accuracy_range_w) == accuracy
    assert action in meter.device.commands
    readings = collect(source, healthy(5))
    source.close()
    compare(meter.device, readings)
    assert ("channels" in settings_schema(driver)["properties"]) == (driver != "lmg95")


def test_accuracy_of_the_users_data_sheet(plug: Callable[..., LmgSimulator]) -> None:
    meter = plug(Device(model="LMG95"))
    own = {"accuracy_reading": 0.0003, "accuracy_range": 0.0002}
    source = source_of(meter, "lmg95", range_v=250, range_a=5, **own)
    (channel,) = source.open().channels
    source.close()
    assert (channel.accuracy_reading, channel.accuracy_range_w) == (0.0003, 0.25)


def test_firmware_without_questions_and_automatic_ranges(
    plug: Callable[..., LmgSimulator],
) -> None:
    meter = plug(Device(knows_queries=False))
    source = source_of(meter, reset=False)
    description = source.open()
    assert "*rst" not in meter.device.commands
    assert description.channels[0].accuracy_range_w is None
    assert description.identity["range_v"] is None
    compare(meter.device, collect(source, healthy(3)))
    source.close()


def test_old_stream_of_a_killed_predecessor(plug: Callable[..., LmgSimulator]) -> None:
    meter = plug()
    killed = source_of(meter)
    killed.open()
    killed._hang_up()  # type: ignore[attr-defined]  # no CONT OFF: what kill -9 does
    source = source_of(meter)
    source.open()
    compare(meter.device, collect(source, healthy(5)))
    source.close()


def test_another_sample_rate_is_measured(plug: Callable[..., LmgSimulator]) -> None:
    """The counter's rate is known from an LMG95; an LMG500 may count faster."""
    meter = plug(Device(model="LMG500", hz=150_000.0))
    source = source_of(meter, "lmg500")
    identity = source.open().channels[0].identity
    assert identity["clock_hz"] == pytest.approx(150_000, rel=1e-3)
    readings = collect(source, healthy(20))
    source.close()
    assert {r.status for r in readings} == {Status.OK}
    first, last = readings[0].device_ns, readings[-1].device_ns
    assert first is not None
    assert last is not None
    true_s = (len(readings) - 1) * meter.device.true_cycle_s
    assert (last - first) / 1e9 == pytest.approx(true_s, rel=1e-3)


@pytest.mark.parametrize(
    ("device", "settings", "words"),
    [
        ({"mute": True}, {}, [r"does not answer '*idn?'", "57600 baud", "RTS/CTS", "meter.port"]),
        ({"scrambled": True}, {}, ["cannot be read", "sources.meter.baud"]),
        ({"echo": True}, {}, ["repeats every command", "echo off"]),
        ({"model": "LMG500"}, {}, ["is an LMG500, not an LMG450", "lmg500"]),
        ({"model": "LMG671"}, {}, ["is an LMG671", "lmg670"]),
        ({"model": "LMG310"}, {}, ["is an LMG310", "has no driver for it", "lmg450"]),
        ({"model": "WT310"}, {}, ["is no LMG", "WT310", "sources.meter.driver"]),
        ({}, {"range_v": 300}, ["refuses the voltage range 300 V", "-224", "range_v"]),
        ({}, {"range_a": 3}, ["refuses the current range 3 A", "-224", "range_a"]),
        ({"cycles_s": (0.1, 60)}, {}, ["refuses a cycle of 0.05 s", "cycle_s"]),
        ({"channels": 2}, {"channels": [1, 4]}, ["sends nothing", "-113", "[1, 4]"]),
    ],
)
def test_trouble_at_opening_is_one_clear_sentence(
    plug: Callable[..., LmgSimulator],
    device: dict[str, Any],
    settings: dict[str, Any],
    words: list[str],
) -> None:
    meter = plug(Device(**device))
    with pytest.raises(WattproofError) as caught:
        source_of(meter, **settings).open()
    message = str(caught.value)
    for word in words:
        assert word in message
    assert "\n" not in message
    assert meter.port in message


def test_ports_that_cannot_be_opened(plug: Callable[..., LmgSimulator]) -> None:
    meter = plug()
    first = source_of(meter)
    first.open()
    with pytest.raises(WattproofError, match="in use by another program"):
        source_of(meter).open()
    first.close()
    for port, words in (
        ("/nonexistent/tty", r"no serial port /nonexistent/tty.*sources\.meter\.port"),
        ("/dev/null", "/dev/null is not a serial port"),
        ("tcp://127.0.0.1:1", "127.0.0.1:1 cannot be reached.*refuses"),
        ("tcp://somewhere", "tcp://HOST:PORT"),
    ):
        with pytest.raises(WattproofError, match=words):
            create({"driver": "lmg450", "port": port}, real_endpoints()).open()
    with pytest.raises(WattproofError, match=r"'auto'.*/dev/ttyUSB0"):
        create({"driver": "lmg450"}, real_endpoints())


def test_line_that_is_too_slow() -> None:
    settings = {"driver": "lmg450", "port": "x", "baud": 9600, "channels": [1, 2, 3, 4]}
    with pytest.raises(WattproofError, match=r"9600 baud is too slow.*sources\.meter\.baud"):
        create({**settings, "cycle_s": 0.05}, real_endpoints())
    create({**settings, "cycle_s": 0.5}, real_endpoints())


# ---------------------------------------------------------------- the stream and its faults


@pytest.mark.parametrize(
    ("kind", "size", "row"),
    [
        ("stuck", 0, Status.TIMEOUT),
        ("restart", 0.5, Status.DEVICE_LOST),
        ("unplug", 1.0, Status.DEVICE_LOST),
    ],
)
def test_stream_behind_a_box_is_mended_and_the_gap_is_counted(
    plug: Callable[..., LmgSimulator], kind: str, size: float, row: Status
) -> None:
    """On a serial port the same is proved by the soak, through the real recorder."""
    meter = plug(box=True)
    source = source_of(meter)
    source.open()
    readings = collect(source, healthy(3))
    if kind == "unplug":
        meter.unplug(size)
    else:
        meter.device.plan(kind, size)
    readings += collect(source, lambda found: any(r.status is row for r in found))
    readings += collect(source, healthy(8), limit_s=15)
    source.close()
    compare(meter.device, readings)
    stamps = [r.device_ns for r in readings if r.device_ns is not None]
    assert stamps == sorted(set(stamps))
    assert meter.device.unexpected == []


def test_break_through_a_box_ends_a_stream_that_hears_nothing_else(
    plug: Callable[..., LmgSimulator],
) -> None:
    meter = plug(Device(deaf_until_break=True), box=True)
    source = source_of(meter)
    source.open()
    assert meter.device.commands[0] == "<BREAK>"
    compare(meter.device, collect(source, healthy(3)))
    source.close()


def test_silence_is_told_while_it_lasts(plug: Callable[..., LmgSimulator]) -> None:
    meter = plug()
    source = source_of(meter)
    source.open()
    collect(source, healthy(3))
    meter.device.mute = True
    meter.device.plan("stuck")
    found = collect(source, lambda rows: sum(r.status is Status.TIMEOUT for r in rows) >= 2)
    assert {r.status for r in found if r.value is None} == {Status.TIMEOUT}
    source.close()


def test_a_long_outage_comes_in_portions(
    plug: Callable[..., LmgSimulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lmg, "MOST_ROWS", 4)
    meter = plug()
    source = source_of(meter, line_end="lf")
    source.open()
    readings = collect(source, healthy(3))
    meter.device.plan("pause", 11)
    while not any(r.status is Status.MISSING for r in readings):
        portion = source.read()
        assert len(portion) <= 4
        readings += portion
    readings += collect(source, healthy(5))
    source.close()
    compare(meter.device, readings)


def test_another_meter_in_its_place_ends_the_source(plug: Callable[..., LmgSimulator]) -> None:
    meter = plug()
    source = source_of(meter)
    source.open()
    collect(source, healthy(3))
    meter.device.serial = "SIM-43"
    meter.device.plan("stuck")
    with pytest.raises(WattproofError, match=r"Another meter.*SIM-43.*SIM-42"):
        collect(source, lambda _: False)
    source.close()


def test_no_descriptor_is_left_open(plug: Callable[..., LmgSimulator]) -> None:
    meter = plug()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        source = source_of(meter)
        source.open()
        source.close()
    meter.device.mute = True
    with pytest.raises(WattproofError):
        source_of(meter).open()
    assert len(os.listdir("/proc/self/fd")) == before
