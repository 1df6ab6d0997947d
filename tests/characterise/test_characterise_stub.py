"""The command and its parts against the stub driver: real library, real recorder, real processes.

The bars are those of issue 3, item 7.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stub_load import StubLoad, serve
from stub_nvml import PowerScript, StubDriver, StubGpu, compiler

from wattproof import sensing
from wattproof.characterise import measure
from wattproof.sensing import SensorDescription

pytestmark = pytest.mark.skipif(compiler() is None, reason="the stub driver needs gcc")

UUID = "GPU-5d0ac1b7-0000-0000-0000-00000000c0de"
HERE = Path(__file__).parent
WINDOW, DELAY_S = 0.20, 0.020


def gpu(**more: Any) -> StubGpu:
    return StubGpu(uuid=UUID, phase_s=0.0137, **more)


def command(driver: StubDriver, *arguments: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", "from wattproof.cli import main; main()", "characterise"]
    return subprocess.run(
        [*call, *arguments], env=driver.env, capture_output=True, text=True, timeout=200
    )


def load_command(path: Path) -> str:
    benches = HERE.parent / "benches"
    return f"env PYTHONPATH={benches} {sys.executable} {HERE / 'stub_load.py'} {path}"


def check(
    found: dict[str, SensorDescription], name: str, update_s: float, window_s: float, delay_s: float
) -> None:
    sensor = found[name]
    assert sensor.refused == ""
    assert sensor.averaging == "boxcar"
    assert sensor.update_s == pytest.approx(update_s, rel=0.05)
    assert sensor.window_s == pytest.approx(window_s, rel=WINDOW)
    assert sensor.delay_s == pytest.approx(delay_s, abs=DELAY_S)
    assert set(sensor.uncertainty) == {"update_s", "window_s", "delay_s"}


def test_command(tmp_path: Path) -> None:
    """H100: 25 of 100 ms; everything that is told, written and drawn; 20 s at most."""
    driver = StubDriver.build(tmp_path / "stub", [gpu(window_s=0.025, delay_s=0.03)])
    thread = serve(StubLoad(driver, 90.0, 610.0), tmp_path / "socket")
    out, figure = tmp_path / "sensors.json", tmp_path / "figure.png"
    started = time.monotonic()
    done = command(
        driver,
        *("--seconds", "15", "--out", str(out), "--figure", str(figure)),
        *("--load", load_command(tmp_path / "socket")),
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 60
    thread.join(5)
    assert not thread.is_alive()
    found = {channel: sensor for (_, channel), sensor in sensing.load(out).items()}
    check(found, "power_instant", 0.1, 0.025, 0.03)
    check(found, "power_average", 0.1, 1.0, 0.03)
    check(found, "energy", 0.1, 0.025, 0.03)
    # The stub's ring repeats what a part-time sensor saw last.
    check(found, "power_samples", 0.1, 0.025, 0.0)
    about = json.loads(out.read_text())["about"]
    assert about["simulated"] is False
    assert about["gpus"][UUID]["name"] == "NVIDIA H100 80GB HBM3"
    levels = about["gpus"][UUID]["channels"]["power_instant"]["levels"]
    assert levels["low_w"] == pytest.approx(90.0, abs=1.0)
    assert levels["contrast_w"] == pytest.approx(520.0, abs=5.0)
    assert "the sensor sees 25% of the time" in done.stdout.lower()
    assert figure.read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------------- parts, run by run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a measurement in this process; the recorder's processes see the stub driver."""

    def go(
        driver: StubDriver, low_w: float = 90.0, high_w: float = 610.0, seconds: float = 18.0
    ) -> dict[str, SensorDescription]:
        for name, value in driver.env.items():
            if os.environ.get(name) != value:
                monkeypatch.setenv(name, value)
        target = measure.Target(UUID, "stub", "stub", 0, None)
        load = StubLoad(driver, low_w, high_w)
        found = measure.run(target, load, seconds, {"kind": "real", "dir": None})
        return {finding.sensor.channel: finding.sensor for finding in found.findings}

    return go


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("update_s", "window_s", "delay_s", "average_s"),
    [
        (0.02, 0.01, 0.0, 0.5),
        (0.02, 0.02, 0.05, 1.0),
        (0.1, 0.1, 0.0, 1.0),
        (0.1, 0.02, 0.1, 2.0),
        (0.2, 0.05, 0.04, 1.0),
    ],
)
def test_generations(
    run: Any, tmp_path: Path, update_s: float, window_s: float, delay_s: float, average_s: float
) -> None:
    more = {"counter_update_s": max(update_s, 0.05), "average_s": average_s}
    driver = StubDriver.build(
        tmp_path / "stub", [gpu(update_s=update_s, window_s=window_s, delay_s=delay_s, **more)]
    )
    found = run(driver)
    check(found, "power_instant", update_s, window_s, delay_s)
    check(found, "power_average", update_s, average_s, delay_s)
    assert found["energy"].update_s == pytest.approx(more["counter_update_s"], rel=0.05)


@pytest.mark.slow
def test_ring_of_points_and_of_means(run: Any, tmp_path: Path) -> None:
    """The stamps of the ring count: a delay until it can be read does not show in them."""
    mean = run(StubDriver.build(tmp_path / "mean", [gpu(delay_s=0.03)]))["power_samples"]
    assert mean.window_s == pytest.approx(0.02, rel=WINDOW)
    assert mean.delay_s == pytest.approx(0.0, abs=DELAY_S)
    point = run(StubDriver.build(tmp_path / "point", [gpu(ring_mode="point")]))["power_samples"]
    assert point.window_s == 0.0


@pytest.mark.slow
def test_power_that_does_not_follow_the_load(run: Any, tmp_path: Path) -> None:
    found = run(StubDriver.build(tmp_path / "stub", [gpu()]), low_w=75.0, high_w=75.0)
    for name in ("power_instant", "power_average"):
        assert found[name].refused == "Nothing can be told: the value never changed."
    for name in ("energy", "power_samples"):
        assert found[name].window_s is None
        assert found[name].delay_s is None
        assert found[name].update_s is not None, "a counter and stamps tell their period anyhow"
        assert found[name].refused


@pytest.mark.slow
def test_channels_that_are_not_offered(run: Any, tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path / "stub", [gpu(ring_size=0, usage="instant")])
    driver.fail(0, "field:185", 3)
    driver.fail(0, "field:186", 3)
    driver.fail(0, "nvmlDeviceGetTotalEnergyConsumption", 3)
    found = run(driver)
    check(found, "power_usage", 0.1, 0.1, 0.0)
    for name in ("power_instant", "power_average", "energy", "power_samples"):
        assert found[name].update_s is None
        assert "does not offer this channel" in found[name].refused


@pytest.mark.slow
def test_somebody_else_on_the_gpu(run: Any, tmp_path: Path) -> None:
    """Another process adds its own, larger load at random."""
    driver = StubDriver.build(tmp_path / "stub", [gpu(window_s=0.025)])
    ours = {"high": False, "other": 0.0}
    play = driver.play
    lock = threading.Lock()

    def mixed(index: int = 0, script: PowerScript | None = None) -> None:
        with lock:
            if script is not None:
                ours["high"] = bool(script.watts[-1] > 300)
                script = PowerScript(
                    int(script.starts_ns[0]), [], then=float(script.watts[-1]) + ours["other"]
                )
            play(index, script)

    driver.play = mixed  # type: ignore[method-assign]
    end = threading.Event()

    def disturb() -> None:
        draw = np.random.default_rng(3)
        while not end.wait(draw.exponential(0.15)):
            with lock:
                ours["other"] = draw.uniform(0, 600)
                own = 610.0 if ours["high"] else 90.0
                start = time.monotonic_ns() + 3_000_000
                play(0, PowerScript(start, [], then=own + ours["other"]))

    thread = threading.Thread(target=disturb, daemon=True)
    thread.start()
    try:
        found = run(driver)
    finally:
        end.set()
        thread.join()
    for sensor in found.values():
        assert sensor.window_s is None, sensor
        assert sensor.delay_s is None, sensor
    assert "somebody else" in found["power_instant"].refused


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_default_run_takes_a_minute_and_a_half_at_most(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path / "stub", [gpu(window_s=0.025, delay_s=0.01)])
    serve(StubLoad(driver, 90.0, 610.0), tmp_path / "socket")
    started = time.monotonic()
    out = tmp_path / "s.json"
    done = command(driver, "--out", str(out), "--load", load_command(tmp_path / "socket"))
    assert time.monotonic() - started <= 90
    assert done.returncode == 0, done.stderr
    found = {channel: sensor for (_, channel), sensor in sensing.load(out).items()}
    check(found, "power_instant", 0.1, 0.025, 0.01)
    check(found, "energy", 0.1, 0.025, 0.01)
