"""What power values mean by generation, what scopes there are, MIG, and the choice of GPUs."""

from typing import Any

import pytest
from fake_nvml import NOT_SUPPORTED, FakeNvml, NVMLError

from wattproof.errors import WattproofError
from wattproof.sources import nvml
from wattproof.sources.base import Channel, Status
from wattproof.sources.nvml import devices
from wattproof.sources.nvml.meaning import meaning


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "PROBE_PAUSE_S", 0.0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def channels_of(fake: FakeNvml, **settings: Any) -> dict[str, Channel]:
    return {c.name: c for c in nvml.NvmlSource(fake, **settings).open().channels}


@pytest.mark.parametrize(
    ("architecture", "name", "window_s", "averaged"),
    [
        # NVML API reference: average on Ampere (except GA100) and newer, instantaneous before.
        (5, "Tesla V100-SXM2-32GB", 0.010, False),
        (6, "Quadro RTX 8000", 0.100, False),
        (7, "NVIDIA A100-SXM4-80GB", 0.025, False),
        (7, "NVIDIA A100X", 0.025, False),
        (7, "NVIDIA A30", 0.025, False),
        (7, "NVIDIA A40", 0.100, True),
        (7, "NVIDIA RTX A1000 Laptop GPU", 0.100, True),  # not an A100
        (7, "NVIDIA GeForce RTX 3090", 0.100, True),
        (8, "NVIDIA GeForce RTX 4090", None, True),
        (9, "NVIDIA H100 80GB HBM3", 0.025, True),
        (9, "NVIDIA GH200 480GB", 0.020, True),
        (10, "NVIDIA B200", None, True),
        (13, "some Rubin", None, True),
        (0xFFFFFFFF, "who knows", None, None),
        (None, "who knows", None, None),
    ],
)
def test_generations(
    architecture: int | None, name: str, window_s: float | None, averaged: bool | None
) -> None:
    found = meaning(architecture, name)
    assert (found.window_s, found.usage_averaged) == (window_s, averaged)


def without_fields(board: bytes, architecture: int) -> FakeNvml:
    fake = FakeNvml(gpus=1, nvmlDeviceGetFieldValues=NOT_SUPPORTED)
    fake.board, fake.architecture = board, architecture
    return fake


@pytest.mark.parametrize(
    ("board", "architecture", "averaging_s", "words"),
    [
        (b"Tesla V100-SXM2-32GB", 5, 0.010, "instantaneous"),
        (b"NVIDIA A100-SXM4-40GB", 7, 0.025, "instantaneous"),
        (b"NVIDIA GeForce RTX 3090", 7, 1.0, "mean of the last second"),
        (b"who knows", 999, 0.0, "whether averaged is not known"),
    ],
)
def test_power_usage_stands_in_under_its_own_name(
    board: bytes, architecture: int, averaging_s: float, words: str
) -> None:
    """Never called "instant" or "average" without the field id (measurement.md 10.4)."""
    fake = without_fields(board, architecture)
    source = nvml.NvmlSource(fake)
    found = {c.name: c for c in source.open().channels}
    assert not {"gpu0.power_instant", "gpu0.power_average"} & set(found)
    usage = found["gpu0.power_usage"]
    assert usage.averaging_s == averaging_s
    assert words in usage.identity["means"]
    readings = {r.channel: r for r in source.read()}
    assert readings["gpu0.power_usage"].value == 222.0
    assert set(readings) == set(found)


def test_power_usage_of_zero_is_missing() -> None:
    fake = without_fields(b"Tesla V100", 5)
    source = nvml.NvmlSource(fake)
    source.open()
    fake.fail["nvmlDeviceGetPowerUsage"] = 999
    assert source.read()[0].status is Status.ERROR
    del fake.fail["nvmlDeviceGetPowerUsage"]
    fake.usage_mw = 0
    reading = source.read()[0]
    assert (reading.value, reading.status) == (None, Status.MISSING)


def test_scopes_with_values_of_their_own() -> None:
    fake = FakeNvml(gpus=1)
    fake.scopes_mw = {1: 480_000, 2: 51_000}
    source = nvml.NvmlSource(fake)
    found = {c.name: c for c in source.open().channels}
    readings = {r.channel: r for r in source.read()}
    assert readings["gpu0.power_module"].value == 480.0
    assert readings["gpu0.power_memory"].value == 51.0
    assert "module" in found["gpu0.power_module"].identity["means"]


def test_a_driver_that_ignores_scopes_gives_no_channel_of_them() -> None:
    fake = FakeNvml(gpus=1)
    fake.scopes_mw = {2: fake.power_mw[186]}  # the board's own power, once more
    assert not {"gpu0.power_module", "gpu0.power_memory"} & set(channels_of(fake))


def test_mig_is_named_and_utilisation_is_a_status() -> None:
    fake = FakeNvml(gpus=1, nvmlDeviceGetUtilizationRates=NOT_SUPPORTED)
    fake.mig = [1, 1]
    source = nvml.NvmlSource(fake)
    identity = source.open().channels[0].identity
    assert identity["mig"] is True
    assert "whole board" in identity["mig_means"]
    readings = {r.channel: r for r in source.read()}
    assert readings["gpu0.utilisation"].status is Status.NOT_SUPPORTED
    assert readings["gpu0.power_instant"].status is Status.OK


def test_throttle_reasons_by_either_name() -> None:
    assert "gpu0.throttle_reasons" in channels_of(FakeNvml(gpus=1))
    old = FakeNvml(gpus=1, nvmlDeviceGetCurrentClocksEventReasons=13)
    source = nvml.NvmlSource(old)
    found = {c.name: c for c in source.open().channels}
    channel = found["gpu0.throttle_reasons"]
    assert (channel.unit, channel.kind) == ("bits", "state")
    assert channel.identity["function"] == "nvmlDeviceGetCurrentClocksThrottleReasons"
    assert {r.channel: r.value for r in source.read()}["gpu0.throttle_reasons"] == 4.0
    none = FakeNvml(
        gpus=1,
        nvmlDeviceGetCurrentClocksEventReasons=13,
        nvmlDeviceGetCurrentClocksThrottleReasons=NOT_SUPPORTED,
    )
    assert "gpu0.throttle_reasons" not in channels_of(none)


def test_gpus_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    fake = FakeNvml(gpus=3)

    def powered(wanted: Any) -> list[tuple[str, str]]:
        found = channels_of(fake, gpus=wanted)
        return [(n, c.device) for n, c in found.items() if n.endswith("power_instant")]

    third = ("gpu0.power_instant", "GPU-0002")
    first = ("gpu1.power_instant", "GPU-0000")
    second = ("gpu2.power_instant", "GPU-0001")
    assert powered("all") == [third, first, second]
    assert powered("visible") == [third]
    assert powered(["GPU-0001"]) == [second], "numbers do not hang on the choice"
    with pytest.raises(WattproofError, match=r"'sources\.nvml\.gpus' names 'GPU-0009'"):
        powered(["GPU-0009"])
    with pytest.raises(WattproofError, match="beginning of 3 UUIDs"):
        powered(["GPU-000"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(WattproofError, match="CUDA_VISIBLE_DEVICES names none"):
        powered("visible")


def test_a_gpu_that_is_off_the_bus_keeps_its_number() -> None:
    fake = FakeNvml(gpus=3)
    fake.lost = {1}
    source = nvml.NvmlSource(fake)
    description = source.open()
    assert description.identity["lost"] == [1]
    powers = [c.name for c in description.channels if c.name.endswith("power_instant")]
    assert powers == ["gpu0.power_instant", "gpu2.power_instant"]
    fake.lost = {0, 1, 2}
    with pytest.raises(WattproofError, match="none of the 3 GPUs"):
        nvml.NvmlSource(fake).open()


def test_all_lost_is_told_once_then_ends_the_lane() -> None:
    fake = FakeNvml(gpus=2)
    for source in (nvml.NvmlSource(fake), nvml.CounterSource(fake)):
        source.open()
        fake.lost = {0}
        statuses = {r.channel: r.status for r in source.read()}
        assert Status.OK in statuses.values()
        source.read()
        fake.lost = {0, 1}
        assert {r.status for r in source.read()} == {Status.DEVICE_LOST}
        with pytest.raises(WattproofError, match="All GPUs were lost"):
            source.read()
        fake.lost = set()


def test_nvml_error_is_a_sentence() -> None:
    fake = FakeNvml()

    def broken() -> None:
        raise NVMLError(9)

    fake.nvmlInit = broken  # type: ignore[method-assign]
    with pytest.raises(WattproofError, match="check that 'nvidia-smi' works"):
        nvml.CounterSource(fake).open()
