"""One recording at a time in a folder and on a node: who waits, who is told, who is free."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from wattproof.session import locks
from wattproof.session.stopping import InterruptedRecordingError


def ignore() -> None:
    """Nothing asks to stop."""


HOLD = """
import sys, time
from pathlib import Path
from wattproof.session import locks
with locks.held(Path(sys.argv[1]), "recording a of campaign c", "", print, lambda: None):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(path)]
    environment = os.environ | {"SLURM_JOB_ID": "77"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_starter_says_who_is_there_and_waits(tmp_path: Path) -> None:
    path = tmp_path / "raw" / "lock"
    first = holder(path)
    lines: list[str] = []
    threading.Timer(1.0, first.send_signal, (signal.SIGKILL,)).start()
    begin = time.monotonic()
    with locks.held(path, "recording b", "another process records here", lines.append, ignore):
        assert time.monotonic() - begin > 0.8
        assert json.loads(path.read_text())["what"] == "recording b"
    first.wait()
    (line,) = lines
    assert line.startswith("another process records here (recording a of campaign c, process ")
    assert f"process {first.pid}" in line
    assert "Slurm job 77" in line
    assert path.read_text() == "", "who is gone leaves no name"


def test_waiting_can_be_stopped(tmp_path: Path) -> None:
    def check() -> None:
        raise InterruptedRecordingError("stop")

    first = holder(tmp_path / "lock")
    with (
        pytest.raises(InterruptedRecordingError),
        locks.held(tmp_path / "lock", "b", "busy", lambda _line: None, check),
    ):
        pass
    first.kill()
    first.wait()


@pytest.mark.parametrize("alive", [True, False])
def test_a_holder_on_another_host_counts_as_long_as_it_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    """A network file system may keep flock to each host: its content must do."""
    monkeypatch.setattr(locks, "WATCH_S", 0.6)
    monkeypatch.setattr(locks, "LOOK_S", 0.1)
    path = tmp_path / "lock"
    note = {"what": "recording a", "host": "n9", "pid": 1, "job": "5", "since": "2026-01-01"}
    path.write_text(json.dumps(note))
    gone = threading.Event()

    def beat() -> None:
        for _ in range(10):
            time.sleep(0.1)
            os.utime(path)
        gone.set()

    thread = threading.Thread(target=beat if alive else gone.set)
    thread.start()
    lines: list[str] = []
    with locks.held(path, "b", "busy", lines.append, ignore):
        assert gone.is_set(), "it went in beside one that lives"
    thread.join()
    assert any("n9" in line for line in lines)
    assert any(line.startswith("busy") for line in lines) == alive


def taken(folder: Path, sources: set[str], uuids: list[str]) -> list[str]:
    """Try to take a node for a moment; return what was told."""
    told: list[str] = []

    def check() -> None:
        if told:
            raise InterruptedRecordingError("it would wait")

    try:
        with locks.node("b", sources, uuids, told.append, check):
            pass
    except InterruptedRecordingError:
        pass
    return told


def test_who_excludes_whom_on_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(locks.LOCKS_VARIABLE, str(tmp_path))
    with locks.node("a", {"meter", "nvml"}, ["GPU-0"], print, ignore):
        assert "on this node" in taken(tmp_path, {"meter"}, [])[0]
        assert "on this node" in taken(tmp_path, {"nvml"}, ["GPU-1"])[0]
    with locks.node("a", {"nvml"}, ["GPU-0"], print, ignore):
        assert taken(tmp_path, {"nvml", "smi"}, ["GPU-1"]) == []
        assert "GPU-0" in taken(tmp_path, {"nvml"}, ["GPU-0", "GPU-1"])[0]
        assert "on this node" in taken(tmp_path, {"nvml", "rapl"}, ["GPU-1"])[0]
    assert taken(tmp_path, {"meter"}, ["GPU-0"]) == []


def test_the_folder_of_locks_is_the_same_for_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(locks.LOCKS_VARIABLE, raising=False)
    mode = locks.folder().stat().st_mode
    assert mode & 0o1002 == 0o1002
