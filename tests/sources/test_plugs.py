"""Shelly and Tasmota drivers against plugs on loopback sockets, with every fault."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from meter_recording import channel, health, of, record
from plug_simulator import Body, PlugSimulator, Shelly, Tasmota

from wattproof.config import validate
from wattproof.errors import WattproofError
from wattproof.sources import meters
from wattproof.sources.base import Reading, Source, Status
from wattproof.sources.endpoints import real_endpoints

Start = Callable[[Body], PlugSimulator]


@pytest.fixture
def start() -> Iterator[Start]:
    made: list[PlugSimulator] = []

    def begin(body: Body) -> PlugSimulator:
        made.append(PlugSimulator(body))
        return made[-1]

    yield begin
    for plug in made:
        plug.close()


def source(driver: str, port: str, **settings: Any) -> Source:
    given = {"driver": driver, "port": port, **settings}
    complete = validate(given, meters.settings_schema(driver), "test", "sources.meter")
    return meters.create(complete, real_endpoints())


def outcome(rows: list[Reading] | Any) -> list[tuple[str, float | None, Status]]:
    return [(row.channel, row.value, row.status) for row in rows]


# -------------------------------------------------------------------- both

FAULTS = {
    "reset": Status.DEVICE_LOST,
    "hang up": Status.DEVICE_LOST,
    "silent": Status.TIMEOUT,
    "drip": Status.TIMEOUT,
    "no http": Status.GARBLED,
    "broken json": Status.GARBLED,
    "list": Status.GARBLED,
    "endless": Status.GARBLED,
    "cut": Status.GARBLED,
    "500": Status.ERROR,
}


@pytest.mark.parametrize(("driver", "body"), [("shelly", Shelly), ("tasmota", Tasmota)])
@pytest.mark.parametrize(("fault", "status"), FAULTS.items())
def test_a_failed_read_is_a_status_in_time_and_the_next_one_is_good(
    start: Start, driver: str, body: Callable[[], Body], fault: str, status: Status
) -> None:
    plug = start(body())
    meter = source(driver, plug.port, period_s=0.5)
    meter.open()
    plug.fault = fault
    begin = time.monotonic()
    rows = meter.read()
    taken_s = time.monotonic() - begin
    assert {row.status for row in rows} == {status}
    assert len(rows) == 2
    assert all(row.value is None for row in rows)
    assert taken_s < 0.5 + 0.25  # the period, and slack for a busy host
    plug.fault = None
    if status is Status.TIMEOUT:
        time.sleep(1.0)  # it is weak: one connection at a time
    assert {row.status for row in meter.read()} == {Status.OK}
    meter.close()


@pytest.mark.parametrize(("driver", "body"), [("shelly", Shelly), ("tasmota", Tasmota)])
def test_a_plug_that_is_switched_off_is_lost_and_comes_back(
    start: Start, driver: str, body: Callable[[], Body]
) -> None:
    plug = start(body())
    meter = source(driver, plug.port)
    meter.open()
    plug.close()
    for _ in range(3):
        assert {row.status for row in meter.read()} == {Status.DEVICE_LOST}


@pytest.mark.parametrize("driver", ["shelly", "tasmota"])
@pytest.mark.parametrize(
    ("port", "says"),
    [
        ("http://127.0.0.1:9", r"refused.*sources\.meter\.port"),
        ("no-such-name.invalid", r"not known.*sources\.meter\.port"),
        ("http://192.0.2.1/status", r"sources\.meter\.port.*address"),
        ("http://192.0.2.1:port", r"sources\.meter\.port"),
    ],
)
def test_a_wrong_port_names_its_key(driver: str, port: str, says: str) -> None:
    with pytest.raises(WattproofError, match=says):
        source(driver, port).open()


@pytest.mark.parametrize("driver", ["shelly", "tasmota"])
def test_another_web_server_is_recognised(start: Start, driver: str) -> None:
    plug = start(lambda _: (200, {"hello": "world"}))
    with pytest.raises(WattproofError, match=r"sources\.meter\.driver"):
        source(driver, plug.port).open()


# -------------------------------------------------------------------- Shelly


def test_shelly_power_and_counter(start: Start) -> None:
    plug = start(Shelly())
    meter = source("shelly", plug.port)
    about = meter.open()
    assert plug.requests == ["/shelly", "/rpc/Switch.GetStatus?id=0"]
    assert about.identity["serial"] == "shellyplusplugs-a0b1c2d3e4f5"
    assert about.identity["note"] == "cheap plug: only for plausibility of totals"
    assert 0 <= about.identity["minute_clock_offset_s"] < 61
    power, energy = about.channels
    assert (power.name, power.unit, power.period_s) == ("node.ac", "W", None)
    assert (energy.name, energy.unit, energy.kind) == ("node.ac_energy", "J", "energy")
    first, counted = meter.read()
    assert (first.value, first.status) == (231.5, Status.OK)
    assert first.start_ns is not None
    assert first.end_ns is not None
    assert first.start_ns < first.end_ns
    assert counted.value is not None
    assert 3.6e6 <= counted.value < 3.6e6 + 231.5 * 5  # 1000 Wh, and what has run since
    # The same value again is a value again.
    assert meter.read()[0].value == 231.5


@pytest.mark.parametrize(
    ("component", "channels", "watts", "paths"),
    [
        ("switch", [0, 2], 231.5 * 4, ["Switch.GetStatus?id=0", "Switch.GetStatus?id=2"]),
        ("pm1", [0], 231.5, ["PM1.GetStatus?id=0"]),
        ("em1", [1], 463.0, ["EM1.GetStatus?id=1", "EM1Data.GetStatus?id=1"]),
        ("em", [0], 231.5, ["EM.GetStatus?id=0", "EMData.GetStatus?id=0"]),
    ],
)
def test_shelly_components(
    start: Start, component: str, channels: list[int], watts: float, paths: list[str]
) -> None:
    plug = start(Shelly(tuple(f"{component}:{i}" for i in range(3))))
    meter = source("shelly", plug.port, component=component, channels=channels)
    meter.open()
    plug.requests.clear()
    power, energy = meter.read()
    assert power.value == pytest.approx(watts)
    assert energy.value == pytest.approx(3.6e6 * len(channels), rel=0.01)
    assert plug.requests == ["/rpc/" + path for path in paths]


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        ({"apower": None}, Status.MISSING),
        ({"apower": "231"}, Status.GARBLED),
        ({"apower": True}, Status.GARBLED),
        ({"apower": math.nan}, Status.NOT_A_NUMBER),
        ({"apower": math.inf}, Status.OVERRANGE),
        ({"errors": ["power_meter"]}, Status.ERROR),
        ({"errors": ["out_of_range:active_power"]}, Status.OVERRANGE),
    ],
)
def test_shelly_without_a_number(start: Start, extra: dict[str, Any], status: Status) -> None:
    body = Shelly()
    meter = source("shelly", start(body).port)
    meter.open()
    body.extra = extra
    power, _ = meter.read()
    assert (power.value, power.status) == (None, status)


def test_shelly_counter_without_power_keeps_counting(start: Start) -> None:
    body = Shelly()
    meter = source("shelly", start(body).port)
    meter.open()
    body.extra = {"aenergy": {}}
    power, energy = meter.read()
    assert power.status is Status.OK
    assert (energy.value, energy.status) == (None, Status.MISSING)


@pytest.mark.parametrize(
    ("body", "settings", "says"),
    [
        (Shelly(auth=True), {}, r"password \(HTTP 401\).*Authentication"),
        (Shelly(), {"channels": [3]}, r"switch:3 \(HTTP 500 Argument.*sources\.meter\.channels"),
        (Shelly(), {"component": "em1"}, r"em1:0.*sources\.meter\.component"),
    ],
)
def test_shelly_says_what_is_wrong(
    start: Start, body: Shelly, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(WattproofError, match=says):
        source("shelly", start(body).port, **settings).open()


def test_shelly_of_the_first_generation_is_refused(start: Start) -> None:
    body = Shelly()
    body.about = {"type": "SHPLG-S", "mac": "A0B1C2D3E4F5", "auth": False, "fw": "20230913"}
    with pytest.raises(WattproofError, match=r"SHPLG-S.*sources\.meter\.driver"):
        source("shelly", start(body).port).open()


def test_shelly_without_a_power_meter_is_refused(start: Start) -> None:
    def body(path: str) -> tuple[int, Any]:
        code, value = Shelly()(path)
        value.pop("apower", None)
        return code, value

    with pytest.raises(WattproofError, match=r"no power meter.*sources\.meter\.component"):
        source("shelly", start(body).port).open()


# -------------------------------------------------------------------- Tasmota


@pytest.mark.parametrize("old", [False, True])
def test_tasmota_power_and_counter(start: Start, old: bool) -> None:
    plug = start(Tasmota(old=old))
    meter = source("tasmota", plug.port)
    about = meter.open()
    assert about.identity["serial"] == "2C:3A:E8:00:11:22"
    assert about.identity["firmware"] == "13.2.0(tasmota)"
    assert about.identity["note"] == "cheap plug: only for plausibility of totals"
    assert [(c.name, c.quantum) for c in about.channels] == [
        ("node.ac", 1.0),
        ("node.ac_energy", None),
    ]
    plug.requests.clear()
    rows = meter.read()
    assert plug.requests == [f"/cm?cmnd=Status%20{8 if old else 10}"]
    assert outcome(rows) == [
        ("node.ac", 231.0, Status.OK),
        ("node.ac_energy", pytest.approx(12.345 * 3.6e6), Status.OK),
    ]
    # 2024-02-29 13:38:19, as if it were UTC
    assert {row.device_ns for row in rows} == {1_709_213_899 * 10**9}


@pytest.mark.parametrize(
    ("channels", "watts", "names"),
    [
        (None, 289.0, ["node.ac", "node.ac_energy"]),
        ([1, 2], 289.0, ["node.ac", "node.ac_energy"]),
        ([2], 58.0, ["node.ac"]),  # its total is that of both outlets
    ],
)
def test_tasmota_with_two_outlets(
    start: Start, channels: list[int] | None, watts: float, names: list[str]
) -> None:
    settings = {} if channels is None else {"channels": channels}
    meter = source("tasmota", start(Tasmota(outlets=2)).port, **settings)
    about = meter.open()
    assert [c.name for c in about.channels] == names
    rows = meter.read()
    assert [row.channel for row in rows] == names
    assert rows[0].value == watts


def test_tasmota_with_a_counter_for_each_outlet(start: Start) -> None:
    body = Tasmota(outlets=2)
    body.energy = {"Total": [1.5, 0.25]}
    meter = source("tasmota", start(body).port, channels=[2])
    meter.open()
    assert outcome(meter.read())[1] == ("node.ac_energy", 0.25 * 3.6e6, Status.OK)


@pytest.mark.parametrize(
    ("energy", "status"),
    [
        ({"Power": None}, Status.MISSING),
        ({"Power": []}, Status.MISSING),
        ({"Power": "231"}, Status.GARBLED),
        ({"Power": math.nan}, Status.NOT_A_NUMBER),
    ],
)
def test_tasmota_without_a_number(start: Start, energy: dict[str, Any], status: Status) -> None:
    body = Tasmota()
    meter = source("tasmota", start(body).port)
    meter.open()
    body.energy = energy
    power, counted = meter.read()
    assert (power.value, power.status) == (None, status)
    assert counted.status is Status.OK


def test_tasmota_without_its_meter_is_missing_both(start: Start) -> None:
    body = Tasmota()
    meter = source("tasmota", start(body).port)
    meter.open()
    body.sensors = {"ENERGY": None, "Time": "not a time"}
    rows = meter.read()
    assert {(r.value, r.status, r.device_ns) for r in rows} == {(None, Status.MISSING, None)}


@pytest.mark.parametrize("code", [401, 200])
def test_tasmota_with_a_password(start: Start, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    body = Tasmota(password="a&b c")
    body.warn_with = code
    port = start(body).port
    with pytest.raises(WattproofError, match=r"sources\.meter\.password_env"):
        source("tasmota", port).open()
    monkeypatch.delenv("PLUG_PASSWORD", raising=False)
    with pytest.raises(WattproofError, match=r"PLUG_PASSWORD, which is not set"):
        source("tasmota", port, password_env="PLUG_PASSWORD")
    monkeypatch.setenv("PLUG_PASSWORD", "a&b c")
    meter = source("tasmota", port, password_env="PLUG_PASSWORD")
    about = meter.open()
    assert meter.read()[0].value == 231.0
    assert "a&b c" not in str(about)
    body.password = "changed"
    assert {row.status for row in meter.read()} == {Status.NO_PERMISSION}


def test_tasmota_outlet_that_is_not_there(start: Start) -> None:
    with pytest.raises(WattproofError, match=r"sources\.meter\.channels.*outlet 3.*measures 2"):
        source("tasmota", start(Tasmota(outlets=2)).port, channels=[3]).open()


# -------------------------------------------------------------------- recorder


@pytest.mark.parametrize(("driver", "body"), [("shelly", Shelly), ("tasmota", Tasmota)])
def test_recorded_and_sealed(
    start: Start, tmp_path: Path, driver: str, body: Callable[[], Body]
) -> None:
    plug = start(body())

    def fail_for_a_while() -> None:
        plug.fault = "500"
        time.sleep(0.7)
        plug.fault = None

    settings = {"driver": driver, "port": plug.port, "period_s": 0.5}
    sealed = record(tmp_path, settings, 3.0, fail_for_a_while)
    power, energy = of(sealed, "node.ac"), of(sealed, "node.ac_energy")
    assert len(power) == len(energy) >= 4
    statuses = [row["status"] for row in power]
    assert "error" in statuses
    assert statuses[0] == statuses[-1] == "ok"
    assert all((row["value"] is None) == (row["status"] != "ok") for row in power + energy)
    assert channel(sealed, "node.ac")["identity"]["note"].startswith("cheap plug")
    about = health(sealed)
    assert (about["outcome"], about["restarts"]) == ("ok", 0)
    assert about["failed"] == statuses.count("error")
