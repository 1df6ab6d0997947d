"""The stub driver against closed forms and a model that steps, through the real nvidia-ml-py."""

import itertools
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from stub_nvml import PowerScript, StubDriver, StubGpu, compiled, compiler, loads
from stub_process import result_of, run_on, start_on

pytestmark = pytest.mark.skipif(compiler() is None, reason="no gcc here")

MS = 1_000_000
S = 1_000_000_000

READ = """
h = n.nvmlDeviceGetHandleByIndex(0)
end = time.monotonic() + {seconds}
while time.monotonic() < end:
    a = time.monotonic_ns()
    value = {call}
    out.append([a, time.monotonic_ns(), value])
    time.sleep({pause})
"""
COUNTER = "n.nvmlDeviceGetTotalEnergyConsumption(h)"
FIELD = "n.nvmlDeviceGetFieldValues(h, [{}])[0].value.uiVal"
RING = """
h = n.nvmlDeviceGetHandleByIndex(0)
kind, samples = n.nvmlDeviceGetSamples(h, n.NVML_TOTAL_POWER_SAMPLES, {seen})
out += [kind, [[s.timeStamp, s.sampleValue.uiVal] for s in samples]]
"""


def busy_script(seed: int = 1) -> PowerScript:
    """Began 5 s ago, goes on for 15 s, changes several times in each update period."""
    start_ns = time.monotonic_ns() - 5 * S
    return PowerScript(start_ns, loads.training_like(20.0, seed))


def ticks_between(start_ns: int, end_ns: int, period_ns: int, phase_ns: int = 0) -> list[int]:
    """The updates of which one was the latest at some instant of the interval."""
    first = (start_ns - phase_ns) // period_ns
    last = (end_ns - phase_ns) // period_ns
    return [phase_ns + k * period_ns for k in range(first, last + 1)]


def seen_w(driver: StubDriver, tick_ns: int, window_ns: int) -> float:
    return driver.energy_j(0, tick_ns - window_ns, tick_ns) / (window_ns * 1e-9)


# ---------------------------------------------------------------------------------- full-time


def test_counter_holds_the_true_energy_of_its_last_step(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path, [StubGpu(phase_s=0.037, counter_start_j=5000.0)])
    driver.play(0, busy_script())
    readings = run_on(driver, READ.format(seconds=1.5, call=COUNTER, pause=0.007))
    assert len({value for _, _, value in readings}) >= 12
    for a, b, value in readings:
        assert b - a >= 3 * MS
        possible = [
            5_000_000 + math.floor(driver.energy_j(0, 0, tick) * 1e3)
            for tick in ticks_between(a, b, 100 * MS, 37 * MS)
        ]
        assert any(abs(value - right) <= 1 for right in possible)


@pytest.mark.parametrize(("field", "window_ns"), [(185, S), (186, 100 * MS)])
def test_power_is_the_mean_of_its_window_at_the_last_update(
    tmp_path: Path, field: int, window_ns: int
) -> None:
    driver = StubDriver.build(tmp_path, [StubGpu(gain=1.04, delay_s=0.03)])
    driver.play(0, busy_script())
    readings = run_on(driver, READ.format(seconds=1.0, call=FIELD.format(field), pause=0.013))
    for a, b, value in readings:
        possible = [
            1.04e3 * seen_w(driver, tick, window_ns)
            for tick in ticks_between(a - 30 * MS, b - 30 * MS, 100 * MS)
        ]
        assert any(value == pytest.approx(right, abs=0.6) for right in possible)


def test_usage_is_the_average_or_on_old_boards_the_instant(tmp_path: Path) -> None:
    script = PowerScript(time.monotonic_ns() - S // 2, [(600.0, 475.0)])
    snippet = READ.format(seconds=0.0001, call="n.nvmlDeviceGetPowerUsage(h)", pause=0)
    driver = StubDriver.build(tmp_path, [StubGpu(usage="instant")])
    driver.play(0, script)
    assert run_on(driver, snippet)[0][2] == 475_000
    driver.change(0, usage="average", average_s=1000.0)
    assert 75_000 < run_on(driver, snippet)[0][2] < 80_000


@pytest.mark.parametrize("mode", ["mean", "point"])
def test_ring_holds_every_20_ms_once(tmp_path: Path, mode: str) -> None:
    driver = StubDriver.build(tmp_path, [StubGpu(ring_mode=mode, ring_phase_s=0.004)])
    script = busy_script()
    driver.play(0, script)
    kind, samples = run_on(driver, RING.format(seen=0))
    assert (kind, len(samples)) == (1, 119)
    stamps_ns = [us * 1000 - driver.wall_offset_ns for us, _ in samples]
    assert all(b - a == 20 * MS for a, b in itertools.pairwise(stamps_ns))
    assert stamps_ns[0] % (20 * MS) == 4 * MS
    for stamp, (_, value) in zip(stamps_ns, samples, strict=True):
        mean_w = driver.energy_j(0, stamp - 20 * MS, stamp) / 0.02
        right_w = mean_w if mode == "mean" else script.power_w(stamp)
        assert value == pytest.approx(1e3 * right_w, abs=0.6)
    wall_ns = time.time_ns() - time.monotonic_ns()
    assert abs(driver.wall_offset_ns - wall_ns) < S  # stamps are wall time


def test_ring_gives_what_is_newer_than_the_last_seen(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path)
    snippet = """
h = n.nvmlDeviceGetHandleByIndex(0)
last = 0
end = time.monotonic() + 0.5
while time.monotonic() < end:
    try:
        new = [s.timeStamp for s in n.nvmlDeviceGetSamples(h, 0, last)[1]]
    except n.NVMLError_NotFound:
        new = []
    out += new
    last = new[-1] if new else last
    time.sleep(0.005)
"""
    stamps = run_on(driver, snippet)
    assert {b - a for a, b in itertools.pairwise(stamps)} == {20_000}
    assert len(stamps) >= 119 + 20


def test_only_the_ring_of_power_is_there(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path, [StubGpu(), StubGpu(uuid="GPU-2", ring_size=0)])
    snippet = """
for gpu, kind in ((0, 1), (0, 2), (0, 7), (1, 0)):
    try:
        n.nvmlDeviceGetSamples(n.nvmlDeviceGetHandleByIndex(gpu), kind, 0)
    except n.NVMLError as error:
        out.append(error.value)
"""
    assert run_on(driver, snippet) == [3, 3, 3, 3]


# ---------------------------------------------------------------------------------- part-time


def part_time(tmp_path: Path, **more: object) -> StubDriver:
    gpu = StubGpu(update_s=0.1, window_s=0.025, phase_s=0.011, **more)  # type: ignore[arg-type]
    driver = StubDriver.build(tmp_path, [gpu])
    driver.play(0, PowerScript(time.monotonic_ns() - 5 * S, loads.burst(20.0, 3, mean_s=0.05)))
    return driver


def test_part_time_sensor_counts_one_window_for_each_update(tmp_path: Path) -> None:
    """The counter's gain over any steps is the sum of what the updates saw, times the period."""
    driver = part_time(tmp_path)
    readings = run_on(driver, READ.format(seconds=1.5, call=COUNTER, pause=0.05))
    first_ns = ticks_between(readings[0][0] + MS, readings[0][0] + 2 * MS, 100 * MS, 11 * MS)[0]
    for a, b, value in readings[1:]:
        possible = []
        for tick in ticks_between(a, b, 100 * MS, 11 * MS):
            updates = range(first_ns + 100 * MS, tick + 1, 100 * MS)
            possible.append(sum(0.1 * seen_w(driver, t, 25 * MS) for t in updates) * 1e3)
        assert any(abs(value - readings[0][2] - right) <= 1.5 for right in possible)
    truth_j = driver.energy_j(0, readings[0][0], readings[-1][1])
    counted_j = (readings[-1][2] - readings[0][2]) / 1e3
    assert abs(counted_j - truth_j) > 0.005 * truth_j  # it has not seen everything


def test_part_time_sensor_averages_what_it_saw(tmp_path: Path) -> None:
    driver = part_time(tmp_path)
    readings = run_on(driver, READ.format(seconds=0.6, call=FIELD.format(185), pause=0.03))
    for a, b, value in readings:
        possible = [
            sum(seen_w(driver, tick - k * 100 * MS, 25 * MS) for k in range(10)) / 10
            for tick in ticks_between(a, b, 100 * MS, 11 * MS)
        ]
        assert any(value == pytest.approx(1e3 * right, abs=0.6) for right in possible)


@pytest.mark.parametrize("mode", ["mean", "point"])
def test_part_time_ring_holds_the_latest_update(tmp_path: Path, mode: str) -> None:
    driver = part_time(tmp_path, ring_mode=mode)
    for us, value in run_on(driver, RING.format(seen=0))[1]:
        stamp = us * 1000 - driver.wall_offset_ns
        tick = ticks_between(stamp, stamp, 100 * MS, 11 * MS)[0]
        share = min(1.0, (stamp - tick) / (20 * MS)) if mode == "mean" else 1.0
        now_w, before_w = (seen_w(driver, t, 25 * MS) for t in (tick, tick - 100 * MS))
        assert value == pytest.approx(1e3 * (share * now_w + (1 - share) * before_w), abs=0.6)


# ---------------------------------------------------------------------------------- while running


def test_script_changes_under_a_running_process(tmp_path: Path) -> None:
    """The counter runs on without a jump, and the new power shows."""
    driver = StubDriver.build(tmp_path, [StubGpu(counter_cost_s=0.0)])
    process = start_on(driver, READ.format(seconds=1.2, call=COUNTER, pause=0.002))
    time.sleep(0.5)
    script = PowerScript(time.monotonic_ns(), [(0.2, 700.0), (0.2, 300.0)], then=50.0)
    driver.play(0, script)
    readings = result_of(process)
    for (_, _, before), (a, b, after) in itertools.pairwise(readings):
        assert 0 <= after - before <= 700 * 1e3 * 0.1001 * (1 + (b - a) / (100 * MS))
    total_j = (readings[-1][2] - readings[0][2]) / 1e3
    truth_j = driver.energy_j(0, readings[0][1], readings[-1][0])
    assert abs(total_j - truth_j) <= 2 * 0.1 * 75.0
    assert truth_j == pytest.approx(
        script.energy_j(readings[0][1], readings[-1][0])
    )  # idle before it


def test_processes_see_the_same(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path)
    driver.play(0, busy_script())
    both = [start_on(driver, RING.format(seen=0)) for _ in range(2)]
    first, second = (dict(result_of(process)[1]) for process in both)
    common = first.keys() & second.keys()
    assert len(common) > 50
    assert all(first[stamp] == second[stamp] for stamp in common)


def test_counter_reset(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path, [StubGpu(counter_start_j=1e6, counter_cost_s=0.0)])
    snippet = READ.format(seconds=0.0001, call=COUNTER, pause=0)
    assert run_on(driver, snippet)[0][2] > 1e9
    driver.reset_counter(0)
    assert run_on(driver, snippet)[0][2] < 75e3 * 30


def test_reading_the_counter_leaves_the_interpreter_free(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path, [StubGpu(counter_cost_s=0.6)])
    snippet = """
import threading
h = n.nvmlDeviceGetHandleByIndex(0)
threads = [threading.Thread(target=n.nvmlDeviceGetTotalEnergyConsumption, args=(h,))
           for _ in range(4)]
cpu, start = time.process_time(), time.monotonic()
[t.start() for t in threads], [t.join() for t in threads]
out += [time.monotonic() - start, time.process_time() - cpu]
"""
    wall_s, cpu_s = run_on(driver, snippet)
    assert 0.6 <= wall_s < 1.8  # side by side: one after the other would be 2.4 s
    assert cpu_s < 0.3


# ---------------------------------------------------------------------------------- faults


def test_scripted_errors_by_call_and_time(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path, [StubGpu(counter_cost_s=0.0), StubGpu(uuid="GPU-2")])
    now = time.monotonic_ns()
    driver.fail(0, "nvmlDeviceGetTotalEnergyConsumption", code=15, until_ns=now + 3600 * S)
    driver.fail(0, "nvmlDeviceGetUtilizationRates", code=10, until_ns=now)  # over
    driver.fail(0, "nvmlDeviceGetPowerUsage", code=999, from_ns=now + 3600 * S)  # not yet
    driver.fail(0, "field:185", code=3)
    driver.fail(0, "field:186", code=0, value=0)
    snippet = """
for index in (0, 1):
    h = n.nvmlDeviceGetHandleByIndex(index)
    for call in ("TotalEnergyConsumption", "UtilizationRates", "PowerUsage"):
        try:
            getattr(n, "nvmlDeviceGet" + call)(h)
            out.append(0)
        except n.NVMLError as error:
            out.append(error.value)
    out.append([(v.nvmlReturn, v.value.uiVal) for v in n.nvmlDeviceGetFieldValues(h, [185, 186])])
"""
    good = [0, 75_000]
    assert run_on(driver, snippet) == [15, 0, 0, [[3, 0], [0, 0]], 0, 0, 0, [good, good]]


def test_a_call_hangs_until_the_script_is_cleared(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path)
    driver.slow(0, "nvmlDeviceGetPowerUsage", extra_s=math.inf)
    process = start_on(
        driver, READ.format(seconds=0.0001, call="n.nvmlDeviceGetPowerUsage(h)", pause=0)
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    driver.clear_faults()
    ((a, b, value),) = result_of(process)
    assert value == 75_000
    assert b - a > 0.3 * S


def test_a_call_is_slow_by_script(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path)
    driver.slow(0, "nvmlDeviceGetPowerUsage", extra_s=0.2)
    call = "n.nvmlDeviceGetPowerUsage(h)"
    ((a, b, _),) = run_on(driver, READ.format(seconds=0.0001, call=call, pause=0))
    assert 0.2 * S <= b - a < 2 * S


def test_lost_gpu_fails_in_every_call_and_has_a_name(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path)
    driver.fail(0, "*", code=15)
    snippet = """
try:
    n.nvmlDeviceGetHandleByIndex(0)
except n.NVMLError_GpuIsLost as error:
    out.append(str(error))
"""
    assert run_on(driver, snippet) == ["GPU is lost"]


@pytest.mark.parametrize("control", [None, "/nonexistent", "/etc/hostname"])
def test_without_control_file_no_driver_is_loaded(tmp_path: Path, control: str | None) -> None:
    env = StubDriver.build(tmp_path).env
    del env["WATTPROOF_STUB"]
    if control is not None:
        env["WATTPROOF_STUB"] = control
    code = "import pynvml as n\ntry: n.nvmlInit()\nexcept n.NVMLError as e: print(e.value)"
    outcome = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert outcome.stdout.strip() == "9"


def test_use_before_init_is_refused(tmp_path: Path) -> None:
    snippet = """
h = n.nvmlDeviceGetHandleByIndex(0)
n.nvmlShutdown()
try:
    n.nvmlDeviceGetUUID(h)
except n.NVMLError_Uninitialized:
    out.append("refused")
n.nvmlInit()
"""
    assert run_on(StubDriver.build(tmp_path), snippet) == ["refused"]


# ---------------------------------------------------------------------------------- identity


def test_identity_and_state(tmp_path: Path) -> None:
    gpus = [
        StubGpu(uuid="GPU-a", limit_w=400.0, mig=("MIG-1", "MIG-2")),
        StubGpu(uuid="GPU-b", name="NVIDIA A100-SXM4-40GB", architecture=7, mig=None, serial=""),
    ]
    driver = StubDriver.build(tmp_path, gpus, driver_version="535.1")
    driver.play(1, PowerScript(0, [(1.0, 75.0)], then=387.5))
    snippet = """
out += [n.nvmlSystemGetDriverVersion(), n.nvmlDeviceGetCount()]
def tries(call, *args):
    try:
        return call(*args)
    except n.NVMLError as error:
        return -error.value
for uuid in ("GPU-a", "GPU-b"):
    h = n.nvmlDeviceGetHandleByUUID(uuid)
    out.append([
        n.nvmlDeviceGetUUID(h), n.nvmlDeviceGetIndex(h), n.nvmlDeviceGetArchitecture(h),
        n.nvmlDeviceGetEnforcedPowerLimit(h), n.nvmlDeviceGetPersistenceMode(h),
        tries(n.nvmlDeviceGetMigMode, h), tries(n.nvmlDeviceGetSerial, h),
        n.nvmlDeviceGetPowerManagementLimitConstraints(h)[1],
        n.nvmlDeviceGetUtilizationRates(h).gpu,
        n.nvmlDeviceGetClockInfo(h, n.NVML_CLOCK_SM), n.nvmlDeviceGetTemperature(h, 0),
        n.nvmlDeviceGetCurrentClocksEventReasons(h), n.nvmlDeviceGetMemoryInfo(h).total >> 30,
    ])
m = n.nvmlDeviceGetHandleByUUID("MIG-2")
parent = n.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(m)
out.append([n.nvmlDeviceIsMigDeviceHandle(m).value, n.nvmlDeviceGetUUID(parent),
            n.nvmlDeviceGetUUID(n.nvmlDeviceGetMigDeviceHandleByIndex(parent, 0)),
            tries(n.nvmlDeviceGetPowerUsage, m), tries(n.nvmlDeviceGetHandleByUUID, "GPU-c")])
"""
    version, count, first, second, mig = run_on(driver, snippet)
    assert (version, count) == ("535.1", 2)
    assert first == ["GPU-a", 0, 9, 400_000, 1, [1, 1], "1650000000000", 400_000, 0, 345, 30, 1, 80]
    assert second == ["GPU-b", 1, 7, 700_000, 1, -3, -3, 700_000, 50, 1980, 55, 0, 80]
    assert mig == [1, "GPU-a", "MIG-1", -3, -6]


# ---------------------------------------------------------------------------------- Python side


def test_script_energy_is_exact() -> None:
    script = PowerScript(10 * S, [(5.0, 300.0), (5.0, 100.0)], then=75.0, idle_w=50.0)
    assert script.energy_j(8 * S, 10 * S) == 100.0
    assert script.energy_j(10 * S, 20 * S) == 2000.0
    assert script.energy_j(14 * S, 16 * S) == 400.0
    assert script.energy_j(19 * S, 22 * S) == pytest.approx(100 + 150)
    assert [script.power_w(t * S) for t in (9, 10, 15, 20)] == [50.0, 300.0, 100.0, 75.0]
    assert script.end_ns == 20 * S
    for bad in ([(0.0, 5.0)], [(1.0, -5.0)]):
        with pytest.raises(ValueError, match=r"Steps are|negative"):
            PowerScript(0, bad)


@pytest.mark.parametrize(
    "steps",
    [
        loads.steady(30.0),
        loads.square(30.0, 0.2, 0.3),
        loads.burst(30.0, 1),
        loads.staircase(30.0),
        loads.training_like(30.0, 1),
    ],
)
def test_loads_fill_their_time(steps: loads.Steps) -> None:
    assert sum(step[0] for step in steps) == pytest.approx(30.0)
    assert all(0.0 < watts <= loads.HIGH_W for _, watts in steps)


def test_loads_are_what_they_say() -> None:
    assert PowerScript(0, loads.square(10.0, 1.0, 0.25, 100.0, 500.0)).energy_j(0, 10 * S) == 2000.0
    assert loads.burst(9.0, 1) == loads.burst(9.0, 1) != loads.burst(9.0, 2)
    assert {w for _, w in loads.staircase(15.0, 6)} == {120.0, 216.0, 312.0, 408.0, 504.0, 600.0}


def test_compiling_is_shared_and_done_once(tmp_path: Path) -> None:
    results: list[Path] = []
    threads = [
        threading.Thread(target=lambda: results.append(compiled(tmp_path / "cache")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1]
    assert os.listdir(tmp_path / "cache") == [results[0].name]
    stamp = (results[0] / "lib" / "libnvidia-ml.so.1").stat().st_mtime_ns
    assert compiled(tmp_path / "cache") == results[0]
    assert (results[0] / "lib" / "libnvidia-ml.so.1").stat().st_mtime_ns == stamp
