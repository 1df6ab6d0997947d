"""The simulated driver: windows by hand, counter against truth, errors as pynvml raises them."""

import numpy as np
import pynvml
import pytest

from wattproof.virtual import truth
from wattproof.virtual.model import PowerTrace, events
from wattproof.virtual.nvml import VirtualNvml
from wattproof.virtual.sensors import GpuSensor, rapl_uj

MS = 10**6
SECOND = 10**9


class Clock:
    ns = 0

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def driver(bench):
    def make(preset="laptop", **overrides):
        b, clock = bench(preset, **overrides), Clock()
        nvml = VirtualNvml(b.node, clock)
        nvml.nvmlInit()
        # An update of board 0's sensor some 500 s after t0, when the past is long idle.
        tick = b.spec.boards[0].phase_ns
        tick -= (tick - b.spec.t0_ns - 500 * SECOND) // (100 * MS) * (100 * MS)
        return b, clock, nvml, nvml.nvmlDeviceGetHandleByIndex(0), tick

    return make


def field(nvml, handle, number):
    (value,) = nvml.nvmlDeviceGetFieldValues(handle, [number])
    assert value.nvmlReturn == pynvml.NVML_SUCCESS
    return value.value.ullVal if number == 83 else value.value.uiVal


def test_windows_by_hand(driver):
    b, clock, nvml, gpu, tick = driver()
    b.at(tick - 10 * MS, 0, 1.0, 1.0)  # 15 W, then 120 W in the last 10 ms
    clock.ns = tick + 6 * MS
    assert field(nvml, gpu, 186) == round((15 * 15 + 10 * 120) / 25 * 1e3)
    assert field(nvml, gpu, 185) == round((990 * 15 + 10 * 120) / 1000 * 1e3)
    assert nvml.nvmlDeviceGetPowerUsage(gpu) == field(nvml, gpu, 185)


def test_instant_power_sees_a_quarter_of_the_time(driver):
    b, clock, nvml, gpu, tick = driver()
    b.at(tick - 100 * MS, 0, 1.0, 1.0)  # 75 ms of full power that the sensor does not look at
    b.at(tick - 25 * MS, 0, 0.0, 0.0)
    clock.ns = tick + 6 * MS
    assert field(nvml, gpu, 186) == 15_000
    assert field(nvml, gpu, 185) == round(15_000 + 105_000 * 0.075)


def test_values_change_each_100_ms_and_only_then(driver):
    b, clock, nvml, gpu, tick = driver()
    b.at(tick - 900 * MS, 0, 1.0, 1.0)
    seen = []
    for ms in range(0, 300, 5):
        clock.ns = tick + ms * MS
        seen.append((nvml.nvmlDeviceGetPowerUsage(gpu), field(nvml, gpu, 83)))
    changes = [i * 5 for i in range(1, len(seen)) if seen[i] != seen[i - 1]]
    assert changes == [5, 105, 205]  # 5 ms from the end of the window to the reading


def test_counter_follows_truth_in_board_units(driver):
    b, clock, nvml, gpu, tick = driver("paper")
    rng = np.random.default_rng(3)
    for i in range(200):
        b.at(tick + i * 37 * MS, 0, rng.random(), rng.random())
    clock.ns = tick + 6 * MS
    first = nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    clock.ns = tick + 6000 * MS + 50 * MS
    second = nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    board, known = b.spec.boards[0], truth.load(b.truth)
    true_j = known.energy_j("gpu0", tick, tick + 6000 * MS)
    assert (second - first) / 1e3 == pytest.approx(
        board.gain * true_j + board.offset_w * 6, abs=2e-3
    )
    assert board.gain != 1.0
    assert field(nvml, gpu, 83) == second
    counts = []
    for ms in range(0, 7000, 20):
        clock.ns = tick + ms * MS
        counts.append(nvml.nvmlDeviceGetTotalEnergyConsumption(gpu))
    assert counts == sorted(counts)


def test_ring(driver):
    b, clock, nvml, gpu, tick = driver()
    for i in range(300):
        b.at(tick + i * 20 * MS + 10 * MS, 0, *((1.0, 1.0) if i % 2 else (0.0, 0.0)))
    clock.ns = tick + 5000 * MS
    kind, samples = nvml.nvmlDeviceGetSamples(gpu, pynvml.NVML_TOTAL_POWER_SAMPLES, 0)
    assert kind == pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
    stamps = np.array([s.timeStamp for s in samples])
    assert len(stamps) == 120
    assert set(np.diff(stamps)) == {20_000}
    # The alternating load is cut in the middle by every 20 ms window: (15 + 120) / 2 W each.
    assert {s.sampleValue.uiVal for s in samples} == {67_500}
    clock.ns += 60 * MS
    _, later = nvml.nvmlDeviceGetSamples(gpu, 0, int(stamps[-1]))
    assert [s.timeStamp for s in later] == [stamps[-1] + 20_000 * i for i in (1, 2, 3)]
    with pytest.raises(pynvml.NVMLError_NotFound):
        nvml.nvmlDeviceGetSamples(gpu, 0, later[-1].timeStamp)


def test_slots_do_not_mix_and_state_follows_load(driver):
    b, clock, nvml, gpu, tick = driver()
    b.at(tick - 20 * SECOND, 1, 1.0, 1.0)
    clock.ns = tick + 100 * MS
    other = nvml.nvmlDeviceGetHandleByUUID(b.spec.gpu_uuids[1].encode())
    assert nvml.nvmlDeviceGetPowerUsage(gpu) == 15_000
    assert nvml.nvmlDeviceGetPowerUsage(other) == 120_000
    rates = [nvml.nvmlDeviceGetUtilizationRates(h) for h in (gpu, other)]
    assert [(r.gpu, r.memory) for r in rates] == [(0, 0), (100, 100)]
    cool, hot = (
        nvml.nvmlDeviceGetTemperature(h, pynvml.NVML_TEMPERATURE_GPU) for h in (gpu, other)
    )
    assert (cool, hot) == (32, 78)
    low, high = (nvml.nvmlDeviceGetClockInfo(h, pynvml.NVML_CLOCK_SM) for h in (gpu, other))
    assert low < high
    idle, busy = (nvml.nvmlDeviceGetCurrentClocksEventReasons(h) for h in (gpu, other))
    assert (idle, busy) == (pynvml.nvmlClocksEventReasonGpuIdle, pynvml.nvmlClocksEventReasonNone)
    memory = nvml.nvmlDeviceGetMemoryInfo(other)
    assert memory.total == 12 * 2**30 == memory.free + memory.used


def test_identity_and_errors(driver):
    b, _, nvml, gpu, _ = driver()
    assert nvml.nvmlSystemGetDriverVersion() == "SIMULATED"
    assert nvml.nvmlDeviceGetName(gpu).startswith("SIMULATED")
    assert nvml.nvmlDeviceGetCount() == 2
    assert nvml.nvmlDeviceGetUUID(gpu) == b.spec.gpu_uuids[0]
    assert nvml.nvmlDeviceGetEnforcedPowerLimit(gpu) == 120_000
    assert nvml.nvmlDeviceGetPowerManagementLimit(gpu) == 120_000
    assert field(nvml, gpu, 189) == field(nvml, gpu, 190) == 120_000
    assert nvml.NVML_FI_DEV_POWER_INSTANT == 186
    assert nvml.NVMLError is pynvml.NVMLError
    memory_scope, unknown = nvml.nvmlDeviceGetFieldValues(gpu, [(186, 2), 9999])
    assert memory_scope.nvmlReturn == unknown.nvmlReturn == pynvml.NVML_ERROR_NOT_SUPPORTED
    with pytest.raises(pynvml.NVMLError_InvalidArgument):
        nvml.nvmlDeviceGetHandleByIndex(2)
    with pytest.raises(pynvml.NVMLError_NotFound):
        nvml.nvmlDeviceGetHandleByUUID("GPU-0")
    with pytest.raises(pynvml.NVMLError_NotSupported):
        nvml.nvmlDeviceGetEccMode(gpu)
    with pytest.raises(AttributeError):
        _ = nvml.nvmlNoSuchThing
    nvml.nvmlShutdown()
    with pytest.raises(pynvml.NVMLError_Uninitialized):
        nvml.nvmlDeviceGetCount()


def test_sensors_take_arrays(bench):
    """Offline generation asks for many instants at once; it must be the same as one by one."""
    b = bench("paper")
    trace = PowerTrace(b.spec.parameters, b.spec.t0_ns)
    rng = np.random.default_rng(1)
    rows = [(b.spec.t0_ns + i * 50 * MS, 2, 2, *rng.random(4)) for i in range(200)]
    trace.extend(events(rows))
    t = b.spec.t0_ns + np.sort(rng.integers(0, 12 * SECOND, 300))
    sensor = GpuSensor(b.spec, 2)
    for function in (sensor.average_mw, sensor.instant_mw, sensor.counter_mj):
        assert function(trace, t).tolist() == [int(function(trace, int(x))) for x in t]
    many = rapl_uj(b.spec, trace, 0, t)
    assert many.tolist() == [int(rapl_uj(b.spec, trace, 0, int(x))) for x in t]


def test_rapl_counter_wraps(bench):
    b = bench(rapl={"max_energy_range_uj": 5_000_000})
    trace = PowerTrace(b.spec.parameters, b.spec.t0_ns)
    t = b.spec.t0_ns + np.arange(100) * 100 * MS
    counter = rapl_uj(b.spec, trace, 0, t)
    assert counter.max() < 5_000_000
    steps = np.diff(counter)
    assert (np.abs(steps % 5_000_000 - 1_200_000) <= 1).all()  # 12 W
    assert (steps < 0).sum() == pytest.approx(9.9 * 12 / 5, abs=1)
