"""The NVML source against a small stand-in for the module pynvml."""

from typing import Any

import pytest
from fake_nvml import LOST, NO_PERMISSION, NOT_SUPPORTED, STAMP_US, TIMEOUT, UNKNOWN, FakeNvml

from wattproof.errors import WattproofError
from wattproof.sources import base, nvml
from wattproof.sources.base import Reading, Status
from wattproof.sources.nvml import devices, main


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "PROBE_PAUSE_S", 0.0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def read(fake: FakeNvml, breaks: dict[Any, int] | None = None) -> dict[str, Reading]:
    """Open, then break, then read once: main lane and counter."""
    sources: list[base.Source] = [nvml.NvmlSource(fake), nvml.CounterSource(fake)]
    for source in sources:
        source.open()
    fake.fail.update(breaks or {})
    readings = {r.channel: r for source in sources for r in source.read()}
    for source in sources:
        source.close()
    return readings


def test_identity_and_channels() -> None:
    source = nvml.NvmlSource(FakeNvml(), period_s=0.05, simulated=True)
    description = source.open()
    assert isinstance(source, base.Source)
    assert description.simulated
    channels = {c.name: c for c in description.channels}
    assert len(channels) == 16
    assert channels["gpu1.throttle_reasons"].kind == "state"
    instant, average = channels["gpu1.power_instant"], channels["gpu1.power_average"]
    assert (instant.device, instant.slot, instant.unit) == ("GPU-0001", 1, "W")
    assert "186" in instant.identity["means"]
    assert "185" in average.identity["means"]
    assert (instant.averaging_s, average.averaging_s) == (0.025, 1.0)  # arXiv 2312.02741, H100
    assert instant.identity["limit_w"] == 700.0
    assert instant.identity["name"] == "NVIDIA H100 80GB HBM3"
    assert {c.clock for c in description.channels} == {"host"}
    assert channels["gpu0.temperature"].period_s == 1.0
    (energy, _) = nvml.CounterSource(FakeNvml()).open().channels
    assert (energy.name, energy.kind, energy.unit) == ("gpu0.energy", "energy", "J")
    assert (energy.period_s, energy.identity["limit_w"]) == (0.1, 700.0)


def test_values_units_and_stamps() -> None:
    got = read(FakeNvml())
    assert got["gpu0.power_instant"].value == pytest.approx(129.5)
    assert got["gpu1.power_instant"].value == pytest.approx(130.5)
    assert got["gpu0.power_average"].value == pytest.approx(301.25)
    assert got["gpu0.energy"].value == pytest.approx((2**40 + 1) / 1000, rel=1e-15)
    assert got["gpu0.memory_used"].value == 5 * 2**30
    assert got["gpu0.clock_sm"].value == pytest.approx(1.98e9)
    assert (got["gpu0.utilisation"].value, got["gpu0.memory_utilisation"].value) == (97, 41)
    assert got["gpu0.temperature"].value == 61
    assert got["gpu0.power_instant"].device_ns == STAMP_US * 1000
    assert got["gpu0.energy"].device_ns is None
    assert all(r.status is Status.OK for r in got.values())
    stamps = [r.start_ns for r in got.values()] + [r.end_ns for r in got.values()]
    assert None not in stamps


@pytest.mark.parametrize("value_type", range(7))
def test_union_member_by_value_type(value_type: int) -> None:
    fake = FakeNvml()
    fake.value_type = value_type
    assert read(fake)["gpu0.power_average"].value == pytest.approx(301.25)


@pytest.mark.parametrize("stamp", [0, -1])
def test_no_stamp_is_null(stamp: int) -> None:
    fake = FakeNvml()
    fake.stamp_us = stamp
    assert read(fake)["gpu0.power_instant"].device_ns is None


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (NOT_SUPPORTED, Status.NOT_SUPPORTED),
        (NO_PERMISSION, Status.NO_PERMISSION),
        (TIMEOUT, Status.TIMEOUT),
        (LOST, Status.DEVICE_LOST),
        (UNKNOWN, Status.ERROR),
    ],
)
def test_one_failed_field_is_a_status_and_spares_the_other(code: int, status: Status) -> None:
    """Case F5: a failed read became 0 W elsewhere. The call as a whole succeeds here."""
    got = read(FakeNvml(), {186: code})
    assert (got["gpu0.power_instant"].value, got["gpu0.power_instant"].status) == (None, status)
    assert got["gpu0.power_average"].value == pytest.approx(301.25)


@pytest.mark.parametrize(
    ("function", "channels"),
    [
        ("nvmlDeviceGetFieldValues", {"power_instant", "power_average"}),
        ("nvmlDeviceGetTotalEnergyConsumption", {"energy"}),
        ("nvmlDeviceGetUtilizationRates", {"utilisation", "memory_utilisation"}),
        ("nvmlDeviceGetTemperature", {"temperature"}),
    ],
)
def test_a_failed_call_is_a_status(function: str, channels: set[str]) -> None:
    got = read(FakeNvml(), {function: LOST})
    failed = {name for name, r in got.items() if r.value is None}
    assert failed == {f"gpu{i}.{c}" for i in range(2) for c in channels}
    assert {got[name].status for name in failed} == {Status.DEVICE_LOST}


def test_zero_watts_is_no_measurement() -> None:
    """Drivers answer 0 when asked too often (measurement.md 2.2): never a 0 W sample."""
    fake = FakeNvml(gpus=1)
    fake.power_mw[186] = 0
    got = read(fake)["gpu0.power_instant"]
    assert (got.value, got.status) == (None, Status.MISSING)


def test_a_counter_that_ran_does_not_stand_at_zero() -> None:
    fake = FakeNvml(gpus=1)
    source = nvml.CounterSource(fake)
    source.open()
    found = []
    for energy_mj in (7_000, 0, 5):
        fake.energy_mj = energy_mj
        found += source.read()
    assert [r.value for r in found] == [7.0, None, 0.005], "a reset shows with the next value"
    assert found[1].status is Status.MISSING


def test_what_the_board_does_not_have_is_left_out_and_named() -> None:
    fake = FakeNvml(gpus=1, nvmlDeviceGetTotalEnergyConsumption=NOT_SUPPORTED)
    fake.fail[186] = NOT_SUPPORTED
    source = nvml.NvmlSource(fake)
    description = source.open()
    names = {c.name for c in description.channels}
    assert "gpu0.power_average" in names
    assert "gpu0.power_instant" not in names
    assert description.channels[0].identity["unsupported"] == ["power_instant"]
    assert {r.channel for r in source.read()} == names
    with pytest.raises(base.NotOfferedError, match="counts its energy"):
        nvml.CounterSource(fake).open()


def test_spurious_not_supported_at_the_start_is_asked_again() -> None:
    fake = FakeNvml(gpus=1)
    original = fake.nvmlDeviceGetFieldValues
    spoiled = iter([True, True, False])

    def sometimes(handle: int, fields: list[tuple[int, int]]) -> Any:
        values = original(handle, fields)
        if next(spoiled, False):
            values[0].nvmlReturn = NOT_SUPPORTED
        return values

    fake.nvmlDeviceGetFieldValues = sometimes  # type: ignore[method-assign]
    names = {c.name for c in nvml.NvmlSource(fake).open().channels}
    assert "gpu0.power_instant" in names


def test_slow_channels_have_their_own_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 Hz for 3 s: temperature at most each second, and never the counter."""
    now = [0]
    monkeypatch.setattr(main.time, "monotonic_ns", lambda: now[0])
    fake = FakeNvml(gpus=1)
    source = nvml.NvmlSource(fake, period_s=0.01)
    source.open()
    fake.calls.clear()
    for tick in range(300):
        # Deadlines jitter by up to 4 ms.
        now[0] = 10**10 + tick * 10_000_000 + (tick * 7919) % 4_000_000
        source.read()
    assert fake.calls.count("nvmlDeviceGetFieldValues") == 300
    assert fake.calls.count("nvmlDeviceGetTotalEnergyConsumption") == 0
    assert fake.calls.count("nvmlDeviceGetUtilizationRates") == 30
    assert fake.calls.count("nvmlDeviceGetCurrentClocksEventReasons") == 12
    assert fake.calls.count("nvmlDeviceGetTemperature") == 3


@pytest.mark.parametrize(
    ("fake", "word"),
    [
        (FakeNvml(nvmlInit=9), "does not work"),
        (FakeNvml(gpus=0), "no GPU"),
        (
            FakeNvml(
                nvmlDeviceGetFieldValues=NOT_SUPPORTED,
                nvmlDeviceGetPowerUsage=NOT_SUPPORTED,
                nvmlDeviceGetTotalEnergyConsumption=NOT_SUPPORTED,
            ),
            "neither power nor energy",
        ),
    ],
)
def test_open_says_what_is_wrong(fake: FakeNvml, word: str) -> None:
    source = nvml.NvmlSource(fake)
    with pytest.raises(WattproofError, match=word):
        source.open()
    source.close()
    source.close()
    assert fake.open == 0
