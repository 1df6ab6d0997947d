"""The stub nvidia-smi: tags by generation, CSV, faults."""

import subprocess
import time
from pathlib import Path

import pytest
from stub_nvml import PowerScript, StubDriver, StubGpu, compiler

from wattproof.sources.base import Status
from wattproof.sources.smi_xml import parse_report

pytestmark = pytest.mark.skipif(compiler() is None, reason="no gcc here")


def call(driver: StubDriver, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["nvidia-smi", *arguments], env=driver.env, capture_output=True)


@pytest.mark.parametrize(
    ("version", "tag"),
    [
        ("515.65.01", "power_readings/power_draw"),
        ("550.54.14", "gpu_power_readings/power_draw"),
        ("580.159.03", "gpu_power_readings/average_power_draw"),
    ],
)
def test_tags_follow_the_driver(tmp_path: Path, version: str, tag: str) -> None:
    gpus = [StubGpu(uuid="GPU-a"), StubGpu(uuid="GPU-b")]
    driver = StubDriver.build(tmp_path, gpus, driver_version=version, smi_cost_s=0.0)
    driver.play(1, PowerScript(0, [(1.0, 75.0)], then=387.5))
    report = parse_report(call(driver, "-q", "-x").stdout)
    assert report is not None
    assert report.driver == version
    assert [gpu.uuid for gpu in report.gpus] == ["GPU-a", "GPU-b"]
    assert [gpu.power_tag() for gpu in report.gpus] == [tag, tag]
    assert report.gpus[1].power(tag) == (387.5, Status.OK)
    assert report.gpus[1].utilisation() == (50.0, Status.OK)
    assert report.gpus[1].limit_w() == 700.0


def test_csv(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path, [StubGpu(uuid="GPU-a"), StubGpu(uuid="GPU-b")])
    query = "--query-gpu=index,uuid,power.draw,utilization.gpu"
    lines = call(driver, query, "--format=csv").stdout.decode().splitlines()
    assert lines == [
        "index, uuid, power.draw [W], utilization.gpu [%]",
        "0, GPU-a, 75.00 W, 0 %",
        "1, GPU-b, 75.00 W, 0 %",
    ]
    bare = call(driver, query, "--format=csv,noheader,nounits", "-i", "GPU-b").stdout
    assert bare == b"1, GPU-b, 75.00, 0\n"
    assert call(driver, "--query-gpu=nonsense", "--format=csv").returncode == 2
    assert call(driver, "-i", "7", query, "--format=csv").returncode == 6


def test_loop_keeps_its_pace(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path)
    arguments = ["--query-gpu=power.draw", "--format=csv,noheader,nounits", "-lms", "20"]
    process = subprocess.Popen(
        ["nvidia-smi", *arguments], env=driver.env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    start = time.monotonic()
    lines = [process.stdout.readline() for _ in range(26)]
    took_s = time.monotonic() - start
    process.kill()
    process.wait()
    process.stdout.close()
    assert set(lines) == {"75.00\n"}
    assert 0.45 < took_s < 5.0


@pytest.mark.parametrize("text", ["N/A", "[Not Supported]", "ERR!"])
def test_power_without_number(tmp_path: Path, text: str) -> None:
    driver = StubDriver.build(tmp_path)
    driver.fail(0, "smi:power", 0, text=text)
    report = parse_report(call(driver, "-q", "-x").stdout)
    assert report is not None
    value, status = report.gpus[0].power("gpu_power_readings/average_power_draw")
    assert value is None
    assert status is (Status.ERROR if text == "ERR!" else Status.NOT_SUPPORTED)
    line = call(driver, "--query-gpu=power.draw", "--format=csv,noheader").stdout.decode()
    assert line == f"{text}\n"


def test_stall_exit_code_and_garbage(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path, smi_cost_s=0.0)
    driver.fail(None, "nvidia-smi", 15, extra_s=0.3)
    start = time.monotonic()
    outcome = call(driver, "-q", "-x")
    assert (outcome.returncode, outcome.stdout) == (15, b"")
    assert time.monotonic() - start >= 0.3
    driver.clear_faults()
    driver.fail(0, "smi:line", 0, text="#!?")
    assert call(driver, "--query-gpu=uuid", "--format=csv,noheader").stdout == b"#!?\n"
    assert parse_report(call(driver, "-q", "-x").stdout) is None


def test_wrapper_needs_no_environment(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path, [StubGpu(uuid="GPU-x")])
    outcome = subprocess.run([driver.smi_wrapper(), "-L"], env={}, capture_output=True, text=True)
    assert outcome.stdout == "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-x)\n"


def test_no_driver(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path)
    (tmp_path / "control").unlink()
    outcome = call(driver, "-q", "-x")
    assert outcome.returncode == 9
    assert b"couldn't communicate" in outcome.stdout
