"""`wattproof record` as a user runs it: real processes, real streams, tables and summary."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from powercap_tree import PowercapTree
from record_process import WATTPROOF, environment, on_terminal, record, summary
from stub_nvml import PowerScript, StubDriver, StubGpu

from wattproof import tables
from wattproof.measure.analysis import NAMES

README = Path(__file__).resolve().parents[2] / "README.md"


def readme_command() -> str:
    """The command of the README's section "Measure any command"."""
    text = README.read_text(encoding="utf-8").partition("## Measure any command")[2]
    match = re.search(r"^(wattproof record -- python -c .*)$", text, re.MULTILINE)
    assert match, "the README lost its example of wattproof record"
    return match[1]


def test_the_readmes_command_works_and_says_what_it_could_not_measure(tmp_path: Path) -> None:
    env = environment(tmp_path)
    env["PATH"] = f"{Path(WATTPROOF).parent}{os.pathsep}{env['PATH']}"
    found = subprocess.run(
        readme_command(), shell=True, cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    count = int(re.findall(r"range\(([\d_]+)\)", readme_command())[0])
    assert found.stdout == f"{(count - 1) * count * (2 * count - 1) // 6}\n"  # and nothing else
    (path,) = (tmp_path / "wattproof-records").iterdir()
    told = summary(path)
    assert told["exit_code"] == 0
    host = {item["channel"]: item for item in told["context"] if item["source"] == "host"}
    assert 0 <= host["cpu.load"]["mean"] <= 100
    assert "CPU load mean" in found.stderr
    assert "memory at most" in found.stderr
    missing = {item["source"]: item for item in told["not_measured"]}
    assert "rapl" in missing
    assert "meter" in missing
    assert missing["meter"]["remedy"]
    for item in missing.values():
        assert item["reason"].split()[0] in found.stderr
    if not told["energy_measured"]:  # so on every machine without an NVIDIA GPU
        assert "No energy could be measured." in found.stderr
        assert "nvml" in missing
        assert not told["energy"]
    assert "Traceback" not in found.stderr
    for name in NAMES:
        assert tables.read(path / f"{name}.parquet", name) is not None
        meta = tables.read_meta(path / f"{name}.parquet")
        assert meta.campaign == path.name
        assert meta.extra["command"] == told["command"]
        assert not meta.simulated


def gpu(index: int, **more: float) -> StubGpu:
    return StubGpu(uuid=f"GPU-0000000{index}-0000-0000-0000-000000000000", **more)  # type: ignore[arg-type]


PROGRAM = """
import os, sys, time
from wattproof.measure import inside
print("go", sys.stdin.readline().strip(), flush=True)
if os.fork() == 0:
    time.sleep(0.2)
    os._exit(0)
os.wait()
with inside.epoch(0):
    with inside.phase("train", 0):
        time.sleep(0.6)
open(os.environ["WATTPROOF_MARKS"], "a").write("no mark\\n")
inside.mark("run_begin")
time.sleep(0.6)
sys.exit(7)
"""


def test_gpus_are_summed_and_the_truth_is_met(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path / "stub", [gpu(0, idle_w=75.0), gpu(1, idle_w=60.0)])
    process = subprocess.Popen(
        [
            *(WATTPROOF, "record", "--name", "two", "--idle", "0.6", "--json", "told.json"),
            *("--", sys.executable, "-c", PROGRAM),
        ],
        cwd=tmp_path,
        env=environment(tmp_path, driver.env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("now\n")
    process.stdin.flush()
    assert process.stdout.readline() == "go now\n"
    driver.play(0, PowerScript(time.monotonic_ns(), [(0.8, 400.0)], then=75.0))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 7, errors
    path = tmp_path / "wattproof-records" / "two"
    told = summary(path)
    assert told == json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    assert told["exit_code"] == 7
    assert told["energy_measured"]
    assert not told["simulated"]

    windows = tables.read_frame(path / "windows.parquet", "windows")
    run = windows[windows["level"] == "run"].iloc[0]
    start, end = int(run["start_ns"]), int(run["end_ns"])
    truth = [driver.energy_j(index, start, end) for index in (0, 1)]
    best = [item for item in told["energy"] if item["main"]]
    assert [item["channel"] for item in best] == ["gpu0.energy", "gpu1.energy"]
    for item, true_j in zip(best, truth, strict=True):
        assert item["energy_j"] == pytest.approx(true_j, rel=0.05)
        assert abs(item["energy_j"] - true_j) <= item["u90_j"]
        assert item["energy_wh"] == pytest.approx(item["energy_j"] / 3600)
        assert item["coverage"] == pytest.approx(1.0)
        assert item["flags"] == []
    (total,) = told["totals"]
    assert total["of"] == ["gpu0.energy", "gpu1.energy"]
    assert total["energy_j"] == pytest.approx(sum(item["energy_j"] for item in best))
    assert total["energy_j"] > max(item["energy_j"] for item in best)  # no mean
    assert "sum of 2 GPUs" in errors
    # Above idle: 325 W for 0.8 s, and nothing.
    for item, above_j in zip(best, (0.8 * 325, 0.0), strict=True):
        assert abs(item["above_idle_j"] - above_j) <= item["above_idle_u90_j"]
        assert item["above_idle_u90_j"] < 40
    assert "above idle" in errors

    # The command's own marks: one epoch, one phase; what is no mark, and a run of ours, is not.
    assert told["windows"] == {"epoch": 1, "phase": 1}
    assert "1 line(s) of the command's marks are no marks" in errors
    energy = tables.read_frame(path / "energy.parquet", "energy")
    epoch = energy[(energy["level"] == "epoch") & (energy["channel"] == "gpu1.energy")].iloc[0]
    assert epoch["mean_w"] == pytest.approx(60.0, rel=0.02)

    sources = {item["source"]: item for item in told["sources"]}
    assert sources["nvml@ring"]["missed"] == 0
    assert sources["nvml"]["failed"] == 0
    assert told["measuring"]["cpu_s"] > 0
    assert {item["source"] for item in told["not_measured"]} == {"rapl", "meter"}
    meta = tables.read_meta(path / "energy.parquet")
    assert meta.instruments["nvml"][gpu(0).uuid]["driver"] == "580.159.03"


@pytest.mark.slow
def test_rapl_package_and_memory_are_added_once(tmp_path: Path) -> None:
    """Cases R8 and R9: package 200 W, DRAM 60 W, mirrored by MMIO: 260 W."""
    tree = PowercapTree(tmp_path / "powercap", parts=("core", "dram"), mmio=True)
    now = time.monotonic_ns()
    scripts = {
        "package-0": PowerScript(now, [], then=200.0),
        "package-0/dram": PowerScript(now, [], then=60.0),
        "package-0/core": PowerScript(now, [], then=150.0),
    }
    env = environment(tmp_path) | {"WATTPROOF_POWERCAP": str(tree.root)}
    with tree.playing(scripts):
        found = record(tmp_path, "--sources", "rapl", "--out", "cpu", "--", "sleep", "1.5", env=env)
    assert found.returncode == 0
    told = summary(tmp_path / "cpu")
    best = {item["channel"]: item for item in told["energy"] if item["main"]}
    assert set(best) == {"cpu0.package", "cpu0.dram"}
    assert best["cpu0.package"]["mean_w"] == pytest.approx(200.0, rel=0.03)
    assert best["cpu0.dram"]["mean_w"] == pytest.approx(60.0, rel=0.03)
    (total,) = told["totals"]
    assert total["mean_w"] == pytest.approx(260.0, rel=0.03)
    assert "CPU 0 package" in found.stderr


def test_ctrl_c_ends_the_command_and_saves_what_was_measured(tmp_path: Path) -> None:
    code, output = on_terminal(
        [
            *(WATTPROOF, "record", "--sources", "host", "--out", "cut", "--", sys.executable),
            *("-c", "import time; print('go', flush=True); time.sleep(60)"),
        ],
        [(b"go\r\n", b"\x03")],
        tmp_path,
        environment(tmp_path),
    )
    assert code == 130
    told = summary(tmp_path / "cut")
    assert told["complete"]
    assert told["signal"] == "SIGINT"
    assert told["duration_s"] < 30
    assert "ended by SIGINT" in output


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [WATTPROOF, "record", "--sources", "host", *arguments],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_killed_ourselves_the_command_goes_on_and_the_record_is_sealed_later(
    tmp_path: Path,
) -> None:
    code = (
        "import os, time; print(os.getpid(), flush=True)\n"
        "while not os.path.exists('enough'): time.sleep(0.05)\n"
        "open('done', 'w')"
    )
    with running(tmp_path, "--out", "killed", "--", sys.executable, "-c", code) as process:
        assert process.stdout is not None
        command = int(process.stdout.readline())
        time.sleep(1.2)
        busy = record(tmp_path, "--seal", "killed")
        assert busy.returncode == 1
        assert "is being recorded" in busy.stderr
        process.send_signal(signal.SIGKILL)
        process.wait()
    os.kill(command, 0)  # it is there
    (tmp_path / "enough").touch()
    end = time.monotonic() + 30
    while not (tmp_path / "done").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert (tmp_path / "done").exists()
    sealed = record(tmp_path, "--seal", "killed")
    assert sealed.returncode == 0, sealed.stderr
    told = summary(tmp_path / "killed")
    assert not told["complete"]
    assert told["exit_code"] is None
    assert told["duration_s"] > 0.5
    assert "ended before the command" in sealed.stderr
    assert len(tables.read_frame(tmp_path / "killed" / "samples.parquet", "samples")) >= 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sources", "host", "--require", "nvml"), "not among the sources"),
        (("--sources", "rapl", "--require", "rapl"), "is required and did not start"),
        (("--sources", "hots"), "Did you mean 'host'?"),
        (("--config", "absent.yaml"), "absent.yaml does not exist"),
        (("--config", "mine.yaml"), "unknown key 'sources.hots'"),
        (("--config", "stop.yaml"), "Source 'rapl' did not start"),
        (("--name", "a/b"), "use only letters"),
        (("--out", "mine.yaml"), "is a file, not a folder"),
        (("--out", "full"), "never overwritten"),
        (("--out", "/proc/nothing"), "Nothing can be written to"),
    ],
)
def test_a_mistake_is_one_sentence_before_the_command_starts(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "mine.yaml").write_text("sources: {hots: {}}\n", encoding="utf-8")
    (tmp_path / "stop.yaml").write_text("sources: {rapl: {}}\n", encoding="utf-8")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    before = set(tmp_path.rglob("*"))
    found = record(tmp_path, *arguments, "--", "touch", "started")
    assert found.returncode == 125
    assert words in found.stderr
    assert found.stderr.count("\n") == 1
    assert set(tmp_path.rglob("*")) - before == {tmp_path / "no-powercap"}


def test_a_record_that_cannot_be_sealed_does_not_change_the_exit_code(tmp_path: Path) -> None:
    script = 'rm -r "$(dirname "$WATTPROOF_MARKS")"; exit 3'
    found = record(tmp_path, "--sources", "host", "--out", "gone", "--", "sh", "-c", script)
    assert found.returncode == 3
    assert "Traceback" not in found.stderr
    assert "gone" in found.stderr
