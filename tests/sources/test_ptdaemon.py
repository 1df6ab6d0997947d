"""The PTDaemon client: lines as pure functions, and the whole client against a daemon."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from meter_recording import channel, health, of, record
from ptdaemon_simulator import ORIGIN, PtdaemonSimulator, watts

from wattproof.config import validate
from wattproof.errors import WattproofError
from wattproof.sources import meters
from wattproof.sources.base import Reading, Status
from wattproof.sources.endpoints import real_endpoints
from wattproof.sources.meters import ptd_setup, ptdaemon
from wattproof.sources.meters.ptd_lines import (
    SampleClock,
    parse_identity,
    parse_ranges,
    parse_sample,
)
from wattproof.sources.meters.ptdaemon import PtdaemonSource

Make = Callable[..., PtdaemonSimulator]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "mlperf_inference"

# A line of a published MLPerf log, and the same as RL sends it.
LOG = (
    "Time,02-14-2022 06:17:02.371,Watts,417.300000,Volts,-1.000000,Amps,-1.000000,PF,-1.000000,"
    "Mark,2022-02-13_22-04-21_testing,Ch1,Watts,208.700000,Volts,205.780000,Amps,1.475800,"
    "PF,0.687300,Ch2,Watts,208.600000,Volts,205.810000,Amps,1.497100,PF,0.677100,Ch3,"
    "Watts,0.000000,Volts,0.000000,Amps,0.000000,PF,0.000000"
)
SENT = (
    LOG.replace("Mark,2022-02-13_22-04-21_testing,Ch1,", "").replace("Ch2,", "").replace("Ch3,", "")
)
STAMP_NS = 1_644_819_422_371 * 10**6  # 2022-02-14 06:17:02.371 as if it were UTC


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[PtdaemonSimulator] = []

    def start(**settings: Any) -> PtdaemonSimulator:
        made.append(PtdaemonSimulator(**settings))
        return made[-1]

    yield start
    for daemon in made:
        daemon.close()


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short time-outs, for daemons that do not answer."""
    monkeypatch.setattr(ptdaemon, "ANSWER_S", 0.25)
    monkeypatch.setattr(ptd_setup, "ANSWER_S", 0.25)


def source(port: str, **settings: Any) -> PtdaemonSource:
    given = {"driver": "ptdaemon", "port": port, "cycle_s": 0.1, **settings}
    complete = validate(given, meters.settings_schema("ptdaemon"), "test", "sources.meter")
    made = meters.create(complete, real_endpoints())
    assert isinstance(made, PtdaemonSource)
    return made


def collect(meter: PtdaemonSource, seconds: float, stall_s: float = 0.0) -> list[Reading]:
    rows: list[Reading] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.monotonic()
        rows += meter.read()
        assert time.monotonic() - begin < 0.7  # a quarter of a second, with slack for a busy host
        time.sleep(stall_s)
    return rows


def read_on(meter: PtdaemonSource, rows: list[Reading]) -> None:
    """Read until the source gives up."""
    for _ in range(200):
        rows += meter.read()


def numbers_of(rows: list[Reading]) -> list[int]:
    return [round((row.value - watts(0)) / 0.5) for row in rows if row.value is not None]


def statuses(rows: list[Reading]) -> list[Status]:
    return [row.status for row in rows]


def account(rows: list[Reading]) -> tuple[int, int]:
    """(samples between the first and the last good one, rows that stand for them)."""
    good = [i for i, row in enumerate(rows) if row.status is Status.OK]
    between = [r for r in rows[good[0] : good[-1]] if r.status is not Status.TIMEOUT]
    numbers = numbers_of(rows)
    return numbers[-1] - numbers[0], len(between)


# -------------------------------------------------------------------- lines


@pytest.mark.parametrize("line", [LOG, SENT])
@pytest.mark.parametrize(
    ("channels", "value"), [(None, 417.3), ((1,), 208.7), ((1, 2), 417.3), ((2, 3), 208.6)]
)
def test_a_published_sample(line: str, channels: tuple[int, ...] | None, value: float) -> None:
    sample = parse_sample(line, channels)
    assert sample is not None
    assert sample.stamp_ns == STAMP_NS
    assert (sample.watts, sample.status) == (pytest.approx(value), Status.OK)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("-1.000000", Status.NOT_A_NUMBER),
        ("nan", Status.NOT_A_NUMBER),
        ("inf", Status.OVERRANGE),
        ("-inf", Status.OVERRANGE),
    ],
)
def test_what_is_no_number_has_no_value(text: str, status: Status) -> None:
    sample = parse_sample(LOG.replace("417.300000", text))
    assert sample is not None
    assert (sample.watts, sample.status) == (None, status)


@given(st.integers(0, len(SENT) - 1))
def test_a_cut_line_is_no_sample_or_one_with_all_its_digits(cut: int) -> None:
    sample = parse_sample(SENT[:cut])
    if sample is not None:
        assert (sample.stamp_ns, sample.watts) == (STAMP_NS, 417.3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Time",
        "Last 1 samples",
        LOG.replace("Time", "Tme"),
        LOG.replace("02-14-2022", "02-31-2022"),
        LOG.replace("06:17:02.371", "06:17"),
        LOG.replace("417.300000", "41x7"),
        LOG.replace("Volts", "Vo\ufffdts", 1),
    ],
)
def test_anything_else_is_no_sample(text: str) -> None:
    assert parse_sample(text) is None


def test_a_channel_that_is_not_in_the_line_is_no_sample() -> None:
    assert parse_sample(LOG, (4,)) is None


def test_identity_and_ranges_of_published_sessions() -> None:
    about = parse_identity(
        "YokogawaWT330_multichannel,1000,1,1,1,1,0,0,1,version=1.9.2-3976349f-20201208,"
        "OS=Windows 8 / Server 2012,mode=power,1,1,2,0,0,no_cal_date,"
        "YOKOGAWA;WT333E;C2WC23035V;F1.04"
    )
    assert about is not None
    assert (about.interval_s, about.channels, about.mode) == (1.0, 2, "power")
    assert about.analyser == "YOKOGAWA;WT333E;C2WC23035V;F1.04"
    assert parse_ranges("Ranges,0,5.000000,0,300.000000") == {"range_a": 5.0, "range_v": 300.0}
    assert parse_ranges("Ranges,-1,-1.000000,1,300.000000") == {"range_a": None, "range_v": None}
    assert parse_identity("Hello") is None
    assert parse_ranges("Unknown command") is None


@pytest.mark.data
def test_published_logs_are_read_without_a_loss() -> None:
    """Every line of the published logs: the daemon's sum is the sum of its channels, no sample is
    missing by our count."""
    logs = sorted(SHARED.glob("*/spl.txt"))
    assert len(logs) == 3
    for log in logs:
        lines = log.read_text().splitlines()
        clock = SampleClock(1.0)
        first = parse_sample(lines[0])
        assert first is not None
        for line in lines:
            whole, parts = parse_sample(line), parse_sample(line, (1, 2, 3))
            assert whole is not None
            assert parts is not None
            assert whole.watts == pytest.approx(parts.watts, abs=1e-6)
            arrival = whole.stamp_ns - first.stamp_ns
            assert clock.place(whole.stamp_ns, arrival) == (whole.stamp_ns, 0)
        assert clock.jumps == 0


@given(
    st.sets(st.integers(1, 58), max_size=40),
    st.lists(
        st.tuples(st.integers(5, 55), st.sampled_from([-3600.0, 3600.0, -7.0, 12.0])), max_size=3
    ),
    st.lists(st.floats(0, 0.2), min_size=60, max_size=60),
)
def test_holes_are_counted_and_set_clocks_are_not_holes(
    lost: set[int], jumps: list[tuple[int, float]], late: list[float]
) -> None:
    """One sample a second; the clock is set now and then; arrival is up to 0.2 s late."""
    clock = SampleClock(1.0)
    placed, missing = [], 0
    kept = [i for i in range(60) if i not in lost]
    for before, after in itertools.pairwise(kept):
        # Set back inside a longer hole, the clock looks right and its sample late: next test.
        back_s = sum(step for at, step in jumps if before < at <= after)
        assume(back_s >= 0 or after - before + back_s <= 0)
    for i in kept:
        ahead_s = sum(step for at, step in jumps if i >= at)
        stamp = round((1e6 + i + ahead_s) * 1e9)
        at_ns, new = clock.place(stamp, round((5.0 + i + late[i]) * 1e9))
        placed.append(at_ns / 1e9 - i)
        missing += new
    assert missing == len(lost)
    # The stamps go on as if nobody had touched the clock, to within the jitter of the arrivals.
    assert max(placed) - min(placed) < 0.2 * (len(jumps) + 1) + 1e-6


def test_a_clock_set_back_inside_a_longer_hole_is_taken_for_a_late_sample() -> None:
    """The limit of `SampleClock`: 8 s of silence, and a stamp 1 s on.

    A stalled network, which is far more frequent, looks the same; its samples must not be moved.
    """
    clock = SampleClock(1.0)
    assert clock.place(0, 0) == (0, 0)
    assert clock.place(10**9, 8 * 10**9) == (10**9, 0)
    assert clock.jumps == 0


# -------------------------------------------------------------------- the client


@pytest.mark.parametrize("channels", [1, 3])
def test_greets_starts_and_reads_each_sample_once(make: Make, channels: int) -> None:
    daemon = make(channels=channels)
    meter = source(daemon.port, range_v=300, range_a=10)
    about = meter.open()
    rows = collect(meter, 1.5)
    meter.close()
    time.sleep(0.1)
    assert daemon.commands[:9] == [
        "Hello", "Identify", "Stop", "RR", "SR,V,300", "SR,A,10", "RR", "Go,100,0,wattproof",
        "RL" if channels == 1 else "RL,*,*",
    ]  # fmt: skip
    assert "Watts" in daemon.commands
    assert daemon.commands[-3:] == ["Stop", "SR,V,300", "SR,A,5"]  # as it was before
    assert about.identity["uncertainty"] == "Uncertainty,0.13,0.12,0.14,10,0,10,0"
    assert about.identity["range_a"] == 10.0
    assert about.identity["serial"] == "C2WC23035V"
    (power,) = about.channels
    assert (power.name, power.clock, power.period_s) == ("node.ac", "device", 0.1)
    numbers = numbers_of(rows)
    assert len(numbers) >= 12
    assert numbers == list(range(len(numbers))), "from the first sample on, each once"
    stamps = [row.device_ns for row in rows]
    assert all(b - a == 100_000_000 for a, b in itertools.pairwise(stamps))  # type: ignore[operator]
    epoch = (ORIGIN - ORIGIN.replace(year=1970, month=1, day=1)).days
    assert stamps[0] is not None
    assert stamps[0] // (86_400 * 10**9) in (epoch + 44, epoch)


@pytest.mark.parametrize(("channels", "share"), [([1], 0.25), ([1, 2], 1.0), ([2, 3], 0.75)])
def test_chosen_channels_are_summed(make: Make, channels: list[int], share: float) -> None:
    daemon = make()
    meter = source(daemon.port, channels=channels)
    meter.open()
    (row, *_) = collect(meter, 0.3)
    meter.close()
    assert row.value == pytest.approx(share * watts(0))


@pytest.mark.parametrize("holds", [True, False])
def test_a_slow_reader_gets_all_of_it_in_batches(make: Make, holds: bool) -> None:
    daemon = make(interval_s=0.05, holds=holds)
    meter = source(daemon.port, cycle_s=0.05)
    meter.open()
    rows = collect(meter, 1.2, stall_s=0.23)
    meter.close()
    numbers = numbers_of(rows)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 12
    asked = daemon.commands.count("RL,*,*")
    assert asked < 90  # a daemon that does not hold RL back is not asked without a pause


def test_a_long_cycle_does_not_block(make: Make) -> None:
    daemon = make()
    meter = source(daemon.port, cycle_s=1.0)
    meter.open()
    rows = collect(meter, 1.4)
    meter.close()
    assert numbers_of(rows)[:1] == [0]
    assert len(rows) <= 3


def test_a_dc_analyser_is_asked_by_its_own_command(make: Make) -> None:
    daemon = make(channels=1, words={"RL": "Unknown command"})
    meter = source(daemon.port)
    meter.open()
    rows = collect(meter, 0.5)
    meter.close()
    assert "DC-RL" in daemon.commands
    assert numbers_of(rows)[:2] == [0, 1]


def test_damage_costs_the_damaged_lines_only(make: Make) -> None:
    lines = {
        5: lambda text: text[:30] + "\r\n",
        8: lambda text: "\xff\x00" + text,
        11: lambda text: text.rstrip("\r\n"),  # runs into the next one: two samples in one line
        15: lambda text: None,
        18: lambda text: "\r\n" + text,
    }
    headers = {21: "La\xffst 1 sam\r\n", 24: ""}
    daemon = make(
        interval_s=0.05,
        line=lambda n, text: lines[n](text) if n in lines else text,
        header=lambda n, text: headers.get(n, text),
        value=lambda n: {28: "nan", 30: "-1.000000", 32: "inf"}.get(n),
    )
    meter = source(daemon.port, cycle_s=0.05)
    meter.open()
    rows = collect(meter, 4.5)
    meter.close()
    found = statuses(rows)
    assert found.count(Status.NOT_A_NUMBER) == 2
    assert found.count(Status.OVERRANGE) == 1
    assert Status.TIMEOUT not in found
    numbers = numbers_of(rows)
    assert numbers == sorted(set(numbers))
    assert numbers[-1] > 35
    # Whatever became of the damaged ones, all others are there.
    assert set(range(numbers[-1])) - set(numbers) <= {5, 8, 11, 12, 15, 28, 30, 32}
    passed, stood_for = account(rows)
    assert passed == stood_for


def test_a_clock_that_is_set_is_no_hole(make: Make) -> None:
    daemon = make(interval_s=0.05, clock=lambda n: 3600.0 if 8 <= n < 14 else 0.0)
    meter = source(daemon.port, cycle_s=0.05)
    meter.open()
    rows = collect(meter, 1.3)
    meter.close()
    assert set(statuses(rows)) == {Status.OK}
    stamps = [row.device_ns for row in rows if row.device_ns is not None]
    assert len(stamps) >= 16
    assert stamps == sorted(stamps)
    assert (stamps[-1] - stamps[0]) / 1e9 == pytest.approx(0.05 * (len(stamps) - 1), abs=0.3)


@pytest.mark.usefixtures("brisk")
def test_a_measurement_that_somebody_stopped_is_started_again(make: Make) -> None:
    daemon = make()
    meter = source(daemon.port)
    meter.open()
    rows = collect(meter, 0.5)
    daemon._go = None
    rows += collect(meter, 2.0)
    meter.close()
    assert statuses(rows).count(Status.TIMEOUT) == 1
    assert daemon.commands.count("Go,100,0,wattproof") == 2
    assert rows[-1].status is Status.OK
    assert Status.MISSING in statuses(rows)


def test_a_full_measurement_is_followed_by_the_next(make: Make) -> None:
    daemon = make(interval_s=0.05, most=8)
    meter = source(daemon.port, cycle_s=0.05)
    meter.open()
    rows = collect(meter, 1.5)
    meter.close()
    assert daemon.commands.count("Go,50,0,wattproof") >= 3
    assert set(statuses(rows)) <= {Status.OK, Status.MISSING}
    numbers = numbers_of(rows)
    assert numbers == sorted(set(numbers))
    assert len(numbers) >= 12


@pytest.mark.usefixtures("brisk")
def test_a_daemon_that_hangs_is_lost_once_and_then_given_up(make: Make) -> None:
    daemon = make()
    meter = source(daemon.port)
    meter.open()
    rows = collect(meter, 0.4)
    daemon.silent = True
    with pytest.raises(WattproofError, match="gone"):
        read_on(meter, rows)
    assert statuses(rows)[-2:] == [Status.TIMEOUT, Status.DEVICE_LOST]
    meter.close()
    meter.close()


def test_a_connection_that_breaks_is_lost_and_can_be_opened_anew(make: Make) -> None:
    daemon = make()
    meter = source(daemon.port)
    meter.open()
    rows = collect(meter, 0.4)
    daemon.hang_up()
    with pytest.raises(WattproofError, match="gone"):
        read_on(meter, rows)
    assert statuses(rows).count(Status.DEVICE_LOST) == 1
    meter.close()
    meter.open()
    assert numbers_of(collect(meter, 0.5))
    meter.close()


# -------------------------------------------------------------------- sentences

TEMPERATURE = (
    "PCsensor,5000,1,0,0,0,0,0,1,version=1.9.1-a2d19f26-20190717,OS=Windows 8,mode=temperature,"
    "0,0,1,0,0,no_cal_date,na"
)


@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize(
    ("daemon", "settings", "says"),
    [
        ({"words": {"Hello": "220 ftp"}}, {}, r"no PTDaemon.*220 ftp.*sources\.meter\.port"),
        ({"words": {"Identify": "?"}}, {}, r"cannot be read.*sources\.meter\.port"),
        ({"words": {"Identify": TEMPERATURE}}, {}, r"is for temperature.*sources\.meter\.port"),
        ({"channels": 1}, {"channels": [2]}, r"sources\.meter\.channels.*channel 2.*has 1"),
        ({"interval_s": 1.0}, {}, r"sources\.meter\.cycle_s' is 0\.1.*each 1 s"),
        (
            {"words": {"SR": "Error in parameter"}},
            {"range_a": 7},
            r"sources\.meter\.range_a' to 7 \(Error in parameter\)",
        ),
        ({"words": {"Go": "Meter busy"}}, {}, r"Meter busy.*sources\.meter\.cycle_s"),
        ({"words": {"RL": "No unread samples"}}, {}, r"no samples.*analyser"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    make: Make, daemon: dict[str, Any], settings: dict[str, Any], says: str
) -> None:
    meter = source(make(**daemon).port, **settings)
    with pytest.raises(WattproofError, match=says):
        meter.open()
    meter.close()


@pytest.mark.parametrize("port", ["tcp://127.0.0.1:9", "tcp://127.0.0.1:port", "127.0.0.1:0"])
def test_a_wrong_port_names_its_key(port: str) -> None:
    with pytest.raises(WattproofError, match=r"sources\.meter\.port"):
        source(port).open()


# -------------------------------------------------------------------- recorder


def test_recorded_and_sealed_over_a_restart_of_the_daemon(make: Make, tmp_path: Path) -> None:
    first = make()

    def restart() -> None:
        first.close()
        make(port=first.tcp_port)

    settings = {"driver": "ptdaemon", "port": first.port, "cycle_s": 0.1}
    sealed = record(tmp_path, settings, 4.6, restart)
    rows = of(sealed, "node.ac")
    found = [row["status"] for row in rows]
    assert found.count("device_lost") == 1
    lost = found.index("device_lost")
    before, after = rows[:lost], rows[lost + 1 :]
    assert len(before) >= 10
    assert len(after) >= 3
    for part in (before, after):
        good = [round((row["value"] - watts(0)) / 0.5) for row in part if row["status"] == "ok"]
        assert good == list(range(len(good)))
    described = channel(sealed, "node.ac")
    assert described["clock"] == "device"
    assert described["identity"]["uncertainty"].startswith("Uncertainty,")
    about = health(sealed)
    assert about["restarts"] >= 1
