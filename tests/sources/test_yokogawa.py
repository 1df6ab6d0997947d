"""The Yokogawa driver: answers as pure functions, and the whole driver on ptys and sockets."""

import math
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from meter_recording import channel, health, of, record
from yokogawa_simulator import YokogawaSimulator, power_w

from wattproof import energy, tables
from wattproof.clocks import align
from wattproof.config import validate
from wattproof.errors import WattproofError
from wattproof.sources import meters
from wattproof.sources.base import Reading, Status
from wattproof.sources.endpoints import real_endpoints
from wattproof.sources.meters import yokogawa, yokogawa_setup
from wattproof.sources.meters.yokogawa import QUESTION, YokogawaSource
from wattproof.sources.meters.yokogawa_values import Updates, parse

Make = Callable[..., YokogawaSimulator]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[YokogawaSimulator] = []

    def start(**settings: Any) -> YokogawaSimulator:
        made.append(YokogawaSimulator(**settings))
        return made[-1]

    yield start
    for simulator in made:
        simulator.unplug()


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short time-outs, for devices that do not answer."""
    monkeypatch.setattr(yokogawa, "ANSWER_S", 0.25)
    monkeypatch.setattr(yokogawa_setup, "ANSWER_S", 0.25)


def source(port: str, **settings: Any) -> YokogawaSource:
    given = {"driver": "yokogawa", "port": port, "baud": 57600, **settings}
    complete = validate(given, meters.settings_schema("yokogawa"), "test", "sources.meter")
    made = meters.create(complete, real_endpoints())
    assert isinstance(made, YokogawaSource)
    return made


def collect(meter: YokogawaSource, seconds: float, stall: Any = None) -> list[Reading]:
    rows: list[Reading] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.monotonic()
        rows += meter.read()
        assert time.monotonic() - begin < 0.6  # a quarter of a second, with slack for a busy host
        if stall is not None:
            time.sleep(stall())
    return rows


def read_on(meter: YokogawaSource, rows: list[Reading]) -> None:
    """Read until the source gives up."""
    for _ in range(200):
        rows += meter.read()


def updates_of(rows: list[Reading], elements: tuple[int, ...] = (1,)) -> list[int]:
    """Numbers of the updates that the good values stand for."""
    base = sum(power_w(0, element) for element in elements)
    good = [r.value for r in rows if r.channel == "node.ac" and r.value is not None]
    return [round((value - base) / (0.25 * len(elements))) for value in good]


def statuses(rows: list[Reading], name: str = "node.ac") -> list[Status]:
    return [row.status for row in rows if row.channel == name]


def account(rows: list[Reading]) -> tuple[int, int]:
    """(updates that passed between the first and the last good one, rows that stand for them)."""
    power = [row for row in rows if row.channel == "node.ac"]
    good = [i for i, row in enumerate(power) if row.status is Status.OK]
    numbers = updates_of(rows)
    return numbers[-1] - numbers[0], good[-1] - good[0]


# -------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("text", "power", "status"),
    [
        ("1;123.45E+00;0", 123.45, Status.OK),
        ("1;123.45E+00,1.0E+03;0", 1123.45, Status.OK),
        ("1;-0.5E+00,1.0E+00;1", 0.5, Status.OK),
        ("1;NAN,1.0E+00;0", None, Status.NOT_A_NUMBER),
        ("1;9.91E+37;0", None, Status.NOT_A_NUMBER),
        ("1;INF,NAN;0", None, Status.NOT_A_NUMBER),
        ("1;1.0E+00,INF;0", None, Status.OVERRANGE),
        ("1;9.9E+37;0", None, Status.OVERRANGE),
        ("1;-9.9E+37;0", None, Status.OVERRANGE),
        ("1;100.0E+00;64", None, Status.OVERRANGE),  # element 1 over its range
        ("1;100.0E+00;256", None, Status.OVERRANGE),  # peak of its current clipped
        ("1;100.0E+00;512", 100.0, Status.OK),  # an element that is not measured
    ],
)
def test_numbers_and_codes(text: str, power: float | None, status: Status) -> None:
    elements = range(1, 2 + text.split(";")[1].count(","))
    found = parse(text, tuple(elements), integrating=False)
    assert found is not None
    assert (found.power_w, found.power_status) == (power, status)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1;2",
        "1;2;3;4",
        "1;2,3;0",
        "1;2E;0",
        "1;;0",
        "x;2;0",
        "1;2;x",
        "1;2;0\x00",
        "1;2 3;0",
    ],
)
def test_anything_else_is_no_answer(text: str) -> None:
    assert parse(text, (1,), integrating=False) is None


def test_integrated_energy_is_in_joules_and_only_while_the_counter_runs() -> None:
    running = parse("1;10,20;2;".rstrip(";").replace("20", "20,0.5,1.5"), (1, 2), True)
    assert running is not None
    assert (running.power_w, running.energy_j, running.energy_status) == (30.0, 7200.0, Status.OK)
    stopped = parse("1;10,20,0.5,1.5;0", (1, 2), True)
    assert stopped is not None
    assert (stopped.power_w, stopped.energy_j) == (30.0, None)
    assert stopped.energy_status is Status.ERROR


@given(
    st.lists(st.tuples(st.floats(0, 0.4), st.floats(0, 0.4)), min_size=2, max_size=60),
    st.floats(0.0, 0.1),
    st.sampled_from([-100e-6, 0.0, 100e-6]),
)
def test_updates_that_nobody_read_are_counted(
    pauses: list[tuple[float, float]], phase: float, drift: float
) -> None:
    """A model of the latch: whatever the host's pauses, each update is a value or a missing one.

    Pauses before the question, and before the host looks for the answer.
    """
    period, line = 0.1, 0.004
    true = period * (1 + drift)
    counter = Updates(period, line)
    now, last, answers, missing = phase, 0, 0, 0
    for before, after in [(0.0, 0.0), (0.0, 0.0), *pauses, (0.0, 0.0), (0.0, 0.0)]:
        asked = now + before
        latest = math.floor((asked + line / 2 - phase) / true + 1e-9)
        last = max(latest, last + 1)
        came = max(phase + last * true, asked + line / 2) + line / 2
        now = max(came, asked + after)
        seen = came > asked + after
        new, at_ns = counter.answered(round(asked * 1e9), round(now * 1e9), seen)
        missing += new
        answers += 1
        # A question that crossed an update on the line may have caught it or not.
        early_s = phase + last * true - at_ns / 1e9
        assert -0.01 < early_s < period + 0.01, "placed at its update"
    # The last two answers were seen to come: by now all are counted.
    assert last == answers + missing


# -------------------------------------------------------------------- the driver


@pytest.mark.parametrize("tcp", [False, True])
def test_sets_up_as_documented_and_reads_each_update_once(make: Make, tcp: bool) -> None:
    device = make(tcp=tcp)
    meter = source(device.port, channels=[1, 3], range_v=300, range_a=5)
    about = meter.open()
    rows = collect(meter, 1.5)
    meter.close()
    time.sleep(0.3)  # the device is still waiting for its next update
    for command in (
        ":COMMUNICATE:REMOTE ON",
        ":COMMUNICATE:HEADER OFF",
        ":COMMUNICATE:VERBOSE OFF",
        ":RATE 100MS",
        ":MEASURE:AVERAGING:STATE OFF",
        ":INPUT:VOLTAGE:AUTO OFF",
        ":INPUT:VOLTAGE:RANGE 300V",
        ":INPUT:CURRENT:AUTO OFF",
        ":INPUT:CURRENT:RANGE 5A",
        ":INPUT:CURRENT:RANGE?",
        ":NUMERIC:FORMAT ASCII",
        ":NUMERIC:NORMAL:NUMBER 2",
        ":NUMERIC:NORMAL:ITEM1 P,1",
        ":NUMERIC:NORMAL:ITEM2 P,3",
        ":STATUS:FILTER1 FALL",
        QUESTION,
        ":COMMUNICATE:REMOTE OFF",
    ):
        assert command in device.commands
    assert about.identity["model"] == "WT333E"
    (power,) = about.channels
    assert (power.period_s, power.averaging_s, power.clock) == (0.1, 0.1, "host")
    assert power.accuracy_reading == 0.001
    assert power.accuracy_range_w == pytest.approx(0.0005 * 300 * 5 * 2)
    numbers = updates_of(rows, (1, 3))
    assert len(numbers) >= 10
    assert len(set(numbers)) == len(numbers)
    assert all(row.start_ns == row.end_ns and row.device_ns is None for row in rows)


def test_a_host_that_is_late_loses_nothing_within_an_update_and_counts_beyond(make: Make) -> None:
    device = make()
    meter = source(device.port)
    meter.open()
    chance = random.Random(3)
    late = collect(meter, 1.2, lambda: chance.uniform(0, 0.07))
    very_late = collect(meter, 2.2, lambda: chance.choice([0.0, 0.0, 0.45]))
    very_late += collect(meter, 0.4)  # the last answers are waited for
    meter.close()
    for rows in (late, very_late):
        numbers = updates_of(rows)
        assert numbers == sorted(set(numbers)), "no update twice, none out of order"
    passed, stood_for = account(late + very_late)
    assert Status.MISSING in statuses(very_late)
    assert passed == stood_for


def test_a_long_cycle_does_not_block_and_its_question_stays_open(make: Make) -> None:
    device = make()
    meter = source(device.port, cycle_s=1)
    meter.open()
    rows = collect(meter, 2.6)
    asked = device.commands.count(QUESTION)
    meter.close()
    assert len(updates_of(rows)) in (2, 3)
    assert asked == len(rows) + 1
    assert set(statuses(rows)) == {Status.OK}


FAULTS: dict[int, Callable[[bytes], bytes | None]] = {
    3: lambda text: b"\xff\x00\x91" + text,
    5: lambda text: text[:4] + b"\r\n",
    7: lambda text: b"1;garbage\n" + text,
    9: lambda text: text.replace(b";", b",", 1),
    11: lambda text: text + text,
}


@pytest.mark.parametrize("tcp", [False, True])
def test_damaged_answers_cost_themselves_only(make: Make, tcp: bool) -> None:
    # Each fault strikes once; the number of the update may differ by one on a busy host.
    left = sorted(FAULTS)

    def answer(update: int, text: bytes) -> bytes | None:
        if left and update >= left[0]:
            return FAULTS[left.pop(0)](text)
        return text

    device = make(tcp=tcp, answer=answer)
    meter = source(device.port)
    meter.open()
    rows = collect(meter, 2.0)
    meter.close()
    assert not left
    assert statuses(rows).count(Status.GARBLED) == len(FAULTS)
    numbers = updates_of(rows)
    assert numbers == sorted(set(numbers))
    passed, stood_for = account(rows)
    assert passed == stood_for
    # Answers still belong to their questions: each value came at its update.
    good = [row for row in rows if row.status is Status.OK]
    delays = [row.end_ns / 1e9 - n * 0.1 for row, n in zip(good, numbers, strict=True)]
    assert min(delays[-5:]) - min(delays) < 0.05


def test_codes_of_the_device_become_statuses(make: Make) -> None:
    texts = {2: "NAN", 4: "INF", 6: "9.91E+37", 8: "9.9E+37"}
    device = make(
        value=lambda update, _: texts.get(update),
        condition=lambda update: 128 if update == 10 else 0,
    )
    meter = source(device.port)
    meter.open()
    rows = collect(meter, 1.4)
    meter.close()
    found = statuses(rows)
    assert found.count(Status.NOT_A_NUMBER) == 2
    assert found.count(Status.OVERRANGE) == 3
    assert all(row.value is None for row in rows if row.status is not Status.OK)
    assert not {2, 4, 6, 8, 10} & set(updates_of(rows))


@pytest.mark.usefixtures("brisk")
def test_a_lost_answer_is_a_timeout_and_the_next_ones_are_right(make: Make) -> None:
    lost: list[int] = []

    def answer(update: int, text: bytes) -> bytes | None:
        if update >= 4 and not lost:
            lost.append(update)
            return None
        return text

    device = make(answer=answer)
    meter = source(device.port)
    meter.open()
    rows = collect(meter, 1.8)
    meter.close()
    assert statuses(rows).count(Status.TIMEOUT) == 1
    numbers = updates_of(rows)
    assert numbers == sorted(set(numbers))
    assert numbers[-1] > lost[0]
    passed, stood_for = account(rows)
    assert passed == stood_for


@pytest.mark.usefixtures("brisk")
def test_a_device_that_falls_silent_is_lost_once_and_then_given_up(make: Make) -> None:
    device = make(quiet_after=3)
    meter = source(device.port)
    meter.open()
    rows: list[Reading] = []
    with pytest.raises(WattproofError, match="gone"):
        read_on(meter, rows)
    assert statuses(rows)[-2:] == [Status.TIMEOUT, Status.DEVICE_LOST]
    meter.close()
    meter.close()


def test_a_connection_that_is_closed_is_lost_and_can_be_opened_anew(make: Make) -> None:
    device = make(tcp=True)
    meter = source(device.port)
    meter.open()
    collect(meter, 0.4)
    device.hang_up()
    rows: list[Reading] = []
    with pytest.raises(WattproofError, match="gone"):
        read_on(meter, rows)
    assert statuses(rows).count(Status.DEVICE_LOST) == 1
    meter.close()
    time.sleep(0.1)
    meter.open()
    assert updates_of(collect(meter, 0.5))
    meter.close()


def test_what_a_killed_predecessor_asked_for_is_not_taken_for_an_answer(make: Make) -> None:
    device = make()
    meter = source(device.port, cycle_s=1)
    meter.open()
    assert meter._link is not None
    meter._link.close()
    again = source(device.port, cycle_s=0.5)
    assert again.open().identity["serial"] == "C2PH13047V"
    assert set(statuses(collect(again, 1.2))) == {Status.OK}
    again.close()


# -------------------------------------------------------------------- integration


def test_integrated_energy_goes_on_over_a_new_start(make: Make) -> None:
    device = make()
    settings = {"integrate": True, "range_v": 300, "range_a": 5}
    meter = source(device.port, **settings)
    assert [c.name for c in meter.open().channels] == ["node.ac", "node.ac_energy"]
    first = collect(meter, 0.8)
    meter.close()
    again = source(device.port, **settings)
    assert again.open().identity["integration"] == "went on from an earlier start"
    second = collect(again, 0.8)
    again.close()
    assert device.commands.count(":INTEGRATE:START") == 1
    assert device.commands.count(":INTEGRATE:RESET") == 0
    # Each joule of the simulated counter is a known power of a known update.
    rows = first + second
    energy = [r.value for r in rows if r.channel == "node.ac_energy" and r.value is not None]
    numbers = updates_of(rows)
    assert len(energy) == len(numbers)
    begin, end = numbers[0], numbers[-1]
    truth = sum(power_w(u, 1) for u in range(begin + 1, end + 1)) * 0.1
    assert energy[-1] - energy[0] == pytest.approx(truth, abs=0.01)


def test_a_foreign_integration_is_ended_since_it_forbids_settings(make: Make) -> None:
    device = make()
    device.integrating = True
    meter = source(device.port, range_a=2)
    meter.open()
    meter.close()
    order = [c for c in device.commands if c.startswith((":INTEGRATE:", ":INPUT:CURRENT:RANGE "))]
    assert order == [
        ":INTEGRATE:STATE?",
        ":INTEGRATE:STOP",
        ":INTEGRATE:RESET",
        ":INPUT:CURRENT:RANGE 2A",
    ]


# -------------------------------------------------------------------- sentences


@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize(
    ("device", "settings", "says"),
    [
        ({"mute": True}, {}, r"answers '\*IDN\?'.*sources\.meter\.port.*sources\.meter\.baud"),
        ({"maker": "ACME"}, {}, r"ACME,WT333E.*sources\.meter\.driver"),
        ({"model": "WT5000"}, {}, r"WT5000.*sources\.meter\.driver.*ptdaemon"),
        ({"model": "WT310E"}, {"channels": [2]}, r"sources\.meter\.channels.*element 2.*WT310E"),
        ({"model": "WT332E"}, {"channels": [2]}, r"sources\.meter\.channels.*has 1, 3"),
        ({}, {"range_a": 7}, r"current range 10\.0E\+00 instead of 7.*sources\.meter\.range_a"),
        ({}, {"range_v": 1000}, r"voltage range.*sources\.meter\.range_v"),
        ({"refuses": ("HOLD",)}, {}, r"refuses \(113,.*':HOLD OFF'"),
        ({"refuses": ("STATus:CONDition",)}, {}, r"firmware"),
        ({}, {"baud": 9600}, r"sources\.meter\.baud'.*sources\.meter\.cycle_s' \(0\.1\)"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    make: Make, device: dict[str, Any], settings: dict[str, Any], says: str
) -> None:
    simulator = make(**device)
    meter = source(simulator.port, **settings)
    with pytest.raises(WattproofError, match=says):
        meter.open()
    meter.close()


@pytest.mark.parametrize(
    "port", ["/dev/tty-that-is-not-there", "tcp://127.0.0.1:9", "tcp://nowhere"]
)
def test_a_wrong_port_names_its_key(port: str) -> None:
    with pytest.raises(WattproofError, match=r"sources\.meter\.port"):
        source(port).open()


def test_a_cycle_that_the_device_does_not_offer_is_refused_by_the_schema() -> None:
    with pytest.raises(WattproofError, match=r"sources\.meter\.cycle_s"):
        source("/dev/null", cycle_s=0.3)
    with pytest.raises(WattproofError, match=r"port"):
        validate(
            {"driver": "yokogawa"}, meters.settings_schema("yokogawa"), "test", "sources.meter"
        )


# -------------------------------------------------------------------- VISA


def test_visa_without_its_packages_says_how_to_install_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyvisa", None)
    with pytest.raises(WattproofError, match=r"pip install 'wattproof\[meters\]'"):
        source("TCPIP::192.0.2.2::INSTR").open()


def test_visa_reads_each_update_once(make: Make) -> None:
    """Real pyvisa and pyvisa-py, over a raw socket: all that can be reached without a device."""
    pytest.importorskip("pyvisa_py", reason="pyvisa-py (extra 'meters') is not installed")
    device = make(tcp=True)
    meter = source(f"TCPIP::127.0.0.1::{device.tcp_port}::SOCKET", channels=[1, 2])
    meter.open()
    rows = collect(meter, 1.5)
    numbers = updates_of(rows, (1, 2))
    assert len(numbers) >= 10
    assert numbers == sorted(set(numbers))
    device.hang_up()
    rows = collect(meter, 0.5) if meter._lines is not None else []
    meter.close()


def test_visa_that_cannot_connect_names_the_key() -> None:
    pytest.importorskip("pyvisa_py", reason="pyvisa-py (extra 'meters') is not installed")
    with pytest.raises(WattproofError, match=r"sources\.meter\.port"):
        source("TCPIP::127.0.0.1::9::SOCKET").open()


# -------------------------------------------------------------------- recorder


def test_recorded_sealed_and_integrated(make: Make, tmp_path: Path) -> None:
    device = make(tcp=True)
    settings = {"driver": "yokogawa", "port": device.port, "channels": [1, 2], "integrate": True}
    sealed = record(tmp_path, settings, 3.0)
    power, energy_rows = of(sealed, "node.ac"), of(sealed, "node.ac_energy")
    good = [row["value"] for row in power if row["status"] == "ok"]
    numbers = [round((value - 300) / 0.5) for value in good]
    assert len(good) >= 20
    assert numbers == sorted(set(numbers))
    assert len(energy_rows) == len(power)
    joules = [row["value"] for row in energy_rows if row["value"] is not None]
    assert joules == sorted(joules)
    described = channel(sealed, "node.ac")
    assert described["identity"]["serial"] == "C2PH13047V"
    assert described["simulated"] is False
    assert health(sealed)["outcome"] == "ok"

    # The device's own counter and our integral agree, between the ends of two updates.
    window = {
        "recording": "rec", "session": 0, "window_id": "w", "run_id": None, "level": "load",
        "kind": "gpu", "epoch": None, "setting": "calibration", "slot": None,
        "start_ns": power[3]["end_ns"], "end_ns": power[-3]["end_ns"],
    }  # fmt: skip
    clocks = align(sealed["samples"], sealed["channels"], tables.empty("marks"), {})
    found = energy.integrate(
        sealed["samples"], sealed["channels"], clocks, pd.DataFrame([window]), {}
    ).set_index("channel")["energy_j"]
    assert found["node.ac_energy"] == pytest.approx(joules[-3] - joules[3], rel=0.02)
    assert found["node.ac"] == pytest.approx(found["node.ac_energy"], rel=0.03)
