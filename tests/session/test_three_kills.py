"""kill -9 of the recording, of one source, of the training: what is lost, and that it is told.

A real session with real processes; the training is a load, which is the same process.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow.compute as pc

from wattproof import config, plan
from wattproof.recorder import read_stream, seal_session
from wattproof.session import Paths, record

SCHEMA = json.loads(
    (Path(__file__).resolve().parents[2] / "config/schema/campaign.schema.json").read_text()
)
RAW = {
    "campaign": "kills",
    "node": {"kind": "real"},
    "sources": {"host": {"period_s": 0.02}},
}

RECORD = """
import sys
from test_three_kills import run
run(sys.argv[1], 60.0)
"""


def run(folder: str, seconds: float) -> None:
    """Record one load."""
    chosen = config.validate(RAW, SCHEMA, "kills.yaml")
    rows = [plan._load_row(chosen, "rec", 0, "idle", seconds)]
    record("rec", rows, chosen, Paths(Path(folder) / "raw", Path(folder) / "truth"), print)


def wait_for(condition: Callable[[], object], limit_s: float = 20.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def child(parent: int, module: str) -> psutil.Process | None:
    for process in psutil.Process(parent).children(recursive=True):
        if module in process.cmdline():
            return process
    return None


def begun(folder: Path) -> bool:
    marks = folder / "raw/session-000/marks.jsonl"
    return marks.exists() and "load_begin" in marks.read_text()


def last_sample_ns(folder: Path, stem: str = "host") -> int:
    table, _, _ = read_stream(folder / f"raw/session-000/streams/{stem}.arrows")
    return int(pc.max(table["end_ns"]).as_py())


def test_kill_9_of_training_and_of_a_source(tmp_path: Path) -> None:
    """The recording goes on without either, keeps what was sampled, and says what happened."""
    killed_ns: dict[str, int] = {}

    def killer() -> None:
        wait_for(lambda: begun(tmp_path))
        time.sleep(1.0)
        source = child(os.getpid(), "wattproof.recorder")
        assert source is not None
        killed_ns["source"] = time.monotonic_ns()
        source.kill()
        again = tmp_path / "raw/session-000/streams/host.1.arrows"
        wait_for(again.exists)
        time.sleep(1.0)
        training = child(os.getpid(), "wattproof.training")
        assert training is not None
        killed_ns["training"] = time.monotonic_ns()
        training.kill()

    thread = threading.Thread(target=killer, daemon=True)
    thread.start()
    run(str(tmp_path), 60.0)
    thread.join()

    (result,) = (tmp_path / "raw/runs").glob("*.json")
    outcome = json.loads(result.read_text())
    assert outcome["status"] == "failed"
    assert "signal 9" in outcome["reason"]
    assert killed_ns["source"] - last_sample_ns(tmp_path) < 10**9
    sealed = seal_session(tmp_path / "raw/session-000", "rec", 0)
    (health,) = sealed["health"].to_pylist()
    assert health["outcome"].startswith("killed; its stream has no end")
    assert health["restarts"] == 1
    assert health["missed"] > 0
    # Sampling went on to the end of the training and beyond.
    assert last_sample_ns(tmp_path, "host.1") >= killed_ns["training"] - 50_000_000


def test_kill_9_of_the_recording(tmp_path: Path) -> None:
    """Source and training end by themselves; at most the last second is lost, and it is told."""
    process = subprocess.Popen(
        [sys.executable, "-c", RECORD, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: begun(tmp_path))
    time.sleep(1.0)
    left = psutil.Process(process.pid).children(recursive=True)
    assert len(left) >= 2
    killed_ns = time.monotonic_ns()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(left, timeout=20)
    assert alive == [], "nothing outlives the recording"
    assert last_sample_ns(tmp_path) > killed_ns - 10**9
    assert not list((tmp_path / "raw/runs").glob("*.json")), "the run is still to be done"
    (health,) = seal_session(tmp_path / "raw/session-000", "rec", 0)["health"].to_pylist()
    assert health["outcome"] == "ok", "the source closed its stream by itself"
