"""The driver's sample ring: each sample exactly once, whatever poller and wall clock do."""

import random
from types import SimpleNamespace
from typing import Any

import pytest

from wattproof.sources.base import NotOfferedError, Reading, Status
from wattproof.sources.nvml import RingSource, devices, ring

MS = 10**6
PERIOD_MS = 20
SIZE = 119
BOOT_WALL_NS = 1_795_000_000 * 10**9


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML code {value}")
        self.value = value


class FakeDriver:
    """Keeps the latest 119 samples; stamps them by a wall clock that can be set."""

    NVMLError = NVMLError

    def __init__(self) -> None:
        self.now_ns = 0
        self.offset_ns = BOOT_WALL_NS
        self.kept: list[tuple[int, int]] = []  # stamp in µs, number of the sample
        self.made = 0
        self.fail: list[int] = []
        self.value_type = 1
        self.zero: set[int] = set()

    def advance(self, milliseconds: int) -> None:
        end = self.now_ns + milliseconds * MS
        while (self.made + 1) * PERIOD_MS * MS <= end:
            self.made += 1
            stamp_ns = self.made * PERIOD_MS * MS + self.offset_ns
            self.kept = [*self.kept, (stamp_ns // 1000, self.made)][-SIZE:]
        self.now_ns = end

    def nvmlDeviceGetSamples(self, _handle: Any, kind: int, last_us: int) -> Any:  # noqa: N802
        assert kind == 0
        if self.fail:
            raise NVMLError(self.fail.pop())
        found = [
            SimpleNamespace(
                timeStamp=stamp,
                sampleValue=SimpleNamespace(uiVal=0 if n in self.zero else 1000 * n),
            )
            for stamp, n in self.kept
            if stamp > last_us
        ]
        if not found:
            raise NVMLError(6)
        return self.value_type, found

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlInit": None,
            "nvmlShutdown": None,
            "nvmlSystemGetDriverVersion": "580.159",
            "nvmlDeviceGetCount": 1,
            "nvmlDeviceGetHandleByIndex": 0,
            "nvmlDeviceGetUUID": "GPU-0",
            "nvmlDeviceGetName": "NVIDIA H100 80GB HBM3",
        }
        if name not in answers:
            raise AttributeError(name)
        return lambda *_: answers[name]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    fake = FakeDriver()
    monkeypatch.setattr(ring.time, "monotonic_ns", lambda: fake.now_ns)
    monkeypatch.setattr(ring, "wall_offset_ns", lambda: fake.offset_ns)
    monkeypatch.setattr(devices, "PROBE_PAUSE_S", 0.0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake.advance(10_000)
    return fake


def opened(driver: FakeDriver) -> RingSource:
    source = RingSource(driver)
    source.open()
    return source


def numbers(readings: list[Reading]) -> list[int]:
    """Numbers of the samples; the value of the n-th sample is n watts."""
    return [round(r.value) for r in readings if r.value is not None]


def instants_ms(readings: list[Reading], driver: FakeDriver) -> list[float]:
    """Monotonic instants as the analysis finds them: by the wall clock at the read."""
    assert all(r.device_ns is not None for r in readings)
    return [(r.device_ns - driver.offset_ns) / MS for r in readings]  # type: ignore[operator]


def test_channel(driver: FakeDriver) -> None:
    (channel,) = RingSource(driver, simulated=True).open().channels
    assert (channel.name, channel.kind, channel.unit) == ("gpu0.power_samples", "power", "W")
    assert (channel.clock, channel.period_s, channel.device) == ("wall", 0.02, "GPU-0")
    assert channel.identity["ring_samples"] == SIZE


def test_random_stalls_of_up_to_two_seconds_lose_and_double_nothing(driver: FakeDriver) -> None:
    source, rng, found = opened(driver), random.Random(1), list[Reading]()
    found += source.read()
    for _ in range(600):
        driver.advance(rng.choice([1, 7, 20, 400, 400, 400, rng.randint(0, 2000)]))
        found += source.read()
    assert {r.status for r in found} == {Status.OK}
    assert numbers(found) == list(range(numbers(found)[0], driver.made + 1))
    assert instants_ms(found, driver) == [n * PERIOD_MS for n in numbers(found)]
    assert found[0].value == 500 - SIZE + 1, "it begins with what the ring holds"


def test_a_stall_longer_than_the_ring_is_a_counted_hole(driver: FakeDriver) -> None:
    source = opened(driver)
    source.read()
    first = driver.made
    driver.advance(3_000)  # 150 samples, of which the ring keeps 119
    found = list(source.read())
    lost = [r for r in found if r.status is Status.MISSING]
    assert len(lost) == 150 - SIZE
    assert {r.value for r in lost} == {None}
    assert instants_ms(found, driver) == [(first + i) * PERIOD_MS for i in range(1, 151)]
    assert numbers(found) == list(range(first + 150 - SIZE + 1, driver.made + 1))


@pytest.mark.parametrize("step_ms", [-3_600_000, -1_000, -400, -40, -8, 8, 30, 1_000, 10**9])
@pytest.mark.parametrize("when_ms", [0, 10, 215, 399])
def test_a_step_of_the_wall_clock_moves_and_hides_nothing(
    driver: FakeDriver, step_ms: int, when_ms: int
) -> None:
    """Forward, back, by more or less than a period or a drain; early and late in a drain."""
    source, found = opened(driver), list[Reading]()
    known: list[float] = []
    for drain in range(20):
        if drain == 10:
            driver.advance(when_ms)
            driver.offset_ns += step_ms * MS
            driver.advance(400 - when_ms)
        else:
            driver.advance(400)
        fresh = list(source.read())
        found += fresh
        known += instants_ms(fresh, driver)
    assert {r.status for r in found} == {Status.OK}
    assert numbers(found) == list(range(numbers(found)[0], driver.made + 1))
    off = [abs(t - n * PERIOD_MS) for t, n in zip(known, numbers(found), strict=True)]
    assert max(off) < 0.01


def test_a_step_while_the_poller_stalls(driver: FakeDriver) -> None:
    source, found = opened(driver), list(opened(driver).read())
    found = list(source.read())
    driver.advance(700)
    driver.offset_ns -= 1_000 * MS  # stamps come again, on the grid of the old ones
    driver.advance(800)
    fresh = list(source.read())
    assert numbers(found + fresh) == list(range(numbers(found)[0], driver.made + 1))
    assert instants_ms(fresh, driver) == [n * PERIOD_MS for n in numbers(fresh)]


def test_zero_is_no_measurement_but_keeps_its_place(driver: FakeDriver) -> None:
    source = opened(driver)
    source.read()
    driver.zero = {driver.made + 3}
    driver.advance(100)
    found = list(source.read())
    assert [r.status for r in found] == [Status.OK, Status.OK, Status.MISSING, *[Status.OK] * 2]
    assert found[2].device_ns is not None


def test_an_unknown_type_is_garbled(driver: FakeDriver) -> None:
    source = opened(driver)
    driver.value_type = 42
    assert {r.status for r in source.read()} == {Status.GARBLED}


def test_a_failed_drain_is_a_status_and_the_next_one_has_all(driver: FakeDriver) -> None:
    source = opened(driver)
    source.read()
    before = driver.made
    driver.advance(400)
    driver.fail = [999]
    (failed,) = source.read()
    assert (failed.status, failed.value, failed.device_ns) == (Status.ERROR, None, None)
    driver.advance(400)
    driver.fail = [7]  # a sample came between the driver's two answers
    assert numbers(list(source.read())) == list(range(before + 1, driver.made + 1))


def test_an_empty_answer_means_nothing_until_a_second_has_passed(driver: FakeDriver) -> None:
    source = opened(driver)
    source.read()
    assert source.read() == []
    driver.now_ns += 2_000 * MS  # the driver has stopped sampling
    (reading,) = source.read()
    assert (reading.status, reading.value) == (Status.MISSING, None)


def test_no_ring_is_not_offered(driver: FakeDriver) -> None:
    driver.fail = [3, 3, 3]
    with pytest.raises(NotOfferedError, match="keeps no power samples"):
        RingSource(driver).open()
