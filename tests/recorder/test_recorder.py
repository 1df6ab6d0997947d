"""The recorder with real processes: starts, deaths, restarts, stops, and what is sealed after."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from faulty_sources import FACTORY

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.recorder import Recorder, child, read_stream, recorder, seal_session

REAL = {"kind": "real", "dir": None}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def make(folder: Path, on_missing: str = "stop", **sources: dict[str, Any]) -> Recorder:
    factories = {name: FACTORY for name in sources if name != "host"}
    return Recorder(folder, sources, REAL, on_missing, factories)


def health_of(sealed: dict[str, pa.Table]) -> dict[str, dict[str, Any]]:
    return {row["source"]: row for row in sealed["health"].to_pylist()}


def values(sealed: dict[str, pa.Table], source: str) -> list[float]:
    mine = sealed["samples"].filter(pc.equal(sealed["samples"]["source"], source))
    return list(mine["value"].to_pylist())


def pid_of(folder: Path, stem: str = "a") -> int:
    _, description, _ = read_stream(folder / "streams" / f"{stem}.arrows")
    return int(description["identity"]["pid"])


def wait_for(condition: Any, limit_s: float = 10.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def test_host_and_two_others_side_by_side(tmp_path: Path) -> None:
    marker = tmp_path / "closed"
    with make(
        tmp_path,
        host={"period_s": 0.05},
        a={"fail_at": 3, "closed": str(marker)},
        b={"pacing": "stream"},
    ) as running:
        running.check()
        time.sleep(1.0)
        running.check()
        assert marker.exists() is False
    assert marker.read_text() == "closed\n"
    assert [h.outcome for h in running.stop()] == ["ok", "ok", "ok"]

    sealed = seal_session(tmp_path, "rec", 2)
    for name, table in sealed.items():
        assert tables.conform(table, name).equals(table)
    health = health_of(sealed)
    assert set(health) == {"host", "a", "b"}
    assert [h["outcome"] for h in health.values()] == ["ok"] * 3
    a = health["a"]
    assert a["expected"] == a["taken"] + a["missed"]
    assert (a["failed"], a["restarts"]) == (1, 0)
    assert a["longest_gap_s"] >= 0.039  # around the failed read
    assert a["cpu_s"] > 0
    assert health["b"]["expected"] is None
    assert values(sealed, "a")[:6] == [0.0, 1.0, 2.0, None, 4.0, 5.0]
    failed = sealed["samples"].filter(pc.equal(sealed["samples"]["status"], "timeout")).to_pylist()
    assert [(r["source"], r["value"], r["session"]) for r in failed] == [("a", None, 2)]
    simulated = {r["source"]: r["simulated"] for r in sealed["channels"].to_pylist()}
    assert simulated == {"host": False, "a": True, "b": True}
    # Wall and monotonic clock were read together.
    offsets = pc.subtract(sealed["samples"]["wall_ns"], sealed["samples"]["end_ns"])
    spread = pc.max(offsets).as_py() - pc.min(offsets).as_py()
    assert spread < 50_000_000


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("error", "Source 'a' did not start: The faulty source does not want to open today"),
        ("crash", "RuntimeError: a bug in open"),
        ("exit", "status 7: last words"),
    ],
)
def test_source_that_does_not_start_stops_all(tmp_path: Path, how: str, words: str) -> None:
    running = make(tmp_path, a={"open": how}, b={})
    with pytest.raises(WattproofError, match=words):
        running.start()
    children = psutil.Process().children(recursive=True)
    assert not [c for c in children if "wattproof.recorder" in " ".join(c.cmdline())]


def test_source_that_does_not_start_is_done_without(tmp_path: Path) -> None:
    with make(tmp_path, "continue", a={"open": "error"}, b={"period_s": 0.01}) as running:
        time.sleep(0.3)
        running.check()
    health = health_of(seal_session(tmp_path, "rec", 0))
    assert health["a"]["outcome"] == "failed: The faulty source does not want to open today."
    assert (health["a"]["taken"], health["a"]["duration_s"]) == (0, None)
    assert health["b"]["outcome"] == "ok"
    assert health["b"]["taken"] > 10


def test_source_that_is_never_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "READY_S", 2.0)
    monkeypatch.setattr(recorder, "STOP_S", 0.3)
    monkeypatch.setattr(child, "TERMINATE_S", 0.3)
    with pytest.raises(WattproofError, match="not ready after 2 s"):
        make(tmp_path, a={"open": "sleep"}).start()


def test_kill_9_of_a_source_is_noticed_and_mended(tmp_path: Path) -> None:
    running = make(tmp_path, a={"period_s": 0.01})
    with running:
        time.sleep(1.2)
        killed_ns = time.monotonic_ns()
        os.kill(pid_of(tmp_path), signal.SIGKILL)

        def restarted() -> bool:
            running.check()
            return (tmp_path / "streams" / "a.1.arrows").exists()

        wait_for(restarted)
        time.sleep(0.5)
    (health,) = running.stop()
    assert (health.outcome, health.restarts) == ("ok", 1)

    before, _, truncated = read_stream(tmp_path / "streams" / "a.arrows")
    assert truncated
    lost_s = (killed_ns - before["end_ns"].to_pylist()[-1]) / 1e9
    assert lost_s < 1.0, "at most the last second may be lost"
    sealed = seal_session(tmp_path, "rec", 0)
    row = health_of(sealed)["a"]
    assert row["outcome"].startswith("killed")
    assert row["restarts"] == 1
    assert row["missed"] > 0, "the time without a process counts as missed"
    assert row["expected"] == row["taken"] + row["missed"]
    assert values(sealed, "a").count(0.0) == 2  # both starts are there
    assert sealed["channels"].num_rows == 1


def test_device_that_is_lost_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "BACKOFF_S", (0.0,))
    running = make(tmp_path, a={"lost_at": 5})
    with running:

        def restarted() -> bool:
            running.check()
            return (tmp_path / "streams" / "a.2.arrows").exists()

        wait_for(restarted)
    outcome = health_of(seal_session(tmp_path, "rec", 0))["a"]["outcome"]
    assert outcome.startswith("failed: The faulty device is gone. | restart 1: failed: The faulty")


def test_crash_in_a_read_keeps_the_samples(tmp_path: Path) -> None:
    running = make(tmp_path, a={"crash_at": 8})
    with running:
        wait_for(lambda: "RuntimeError" in (tmp_path / "streams" / "a.log").read_text())
    sealed = seal_session(tmp_path, "rec", 0)
    assert values(sealed, "a") == [float(i) for i in range(8)]
    assert health_of(sealed)["a"]["outcome"] == "failed: RuntimeError: a bug in read"


def test_rows_are_on_disk_while_a_read_blocks(tmp_path: Path) -> None:
    with make(tmp_path, a={"block_at": 5, "block_s": 1.6}):
        time.sleep(1.2)
        table, _, truncated = read_stream(tmp_path / "streams" / "a.arrows")
        assert truncated  # it is still being written
        assert table["value"].to_pylist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_stop_escalates_when_a_read_does_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "STOP_S", 0.4)
    monkeypatch.setattr(child, "TERMINATE_S", 0.4)
    running = make(tmp_path, a={"block_at": 5, "block_s": 60})
    running.start()
    time.sleep(0.8)
    begin = time.monotonic()
    (health,) = running.stop()
    assert time.monotonic() - begin < 5.0
    assert health.outcome == "killed"
    assert values(seal_session(tmp_path, "rec", 0), "a") == [0.0, 1.0, 2.0, 3.0, 4.0]


PARENT = """
import sys, time
from wattproof.recorder import Recorder
node = {"kind": "real", "dir": None}
running = Recorder(sys.argv[1], {"a": {}}, node, factories={"a": "faulty_sources:build"})
running.start()
print("ready", flush=True)
time.sleep(60)
"""


def test_sources_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    pid = pid_of(tmp_path)
    time.sleep(0.3)
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")
    _, _, truncated = read_stream(tmp_path / "streams" / "a.arrows")
    assert not truncated, "it closed its stream"
    assert health_of(seal_session(tmp_path, "rec", 0))["a"]["outcome"] == "ok"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_of_one_source(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM stops it cleanly; Ctrl-C belongs to the parent and is ignored."""
    info = tmp_path / "a.json"
    spec = {
        "name": "a",
        "settings": {},
        "node": REAL,
        "stream": str(tmp_path / "a.arrows"),
        "info": str(info),
        "factory": FACTORY,
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    process = subprocess.Popen(
        [sys.executable, "-m", "wattproof.recorder", str(tmp_path / "spec.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"event": "ready", "channels": ["count"]}
    process.send_signal(number)
    if number == signal.SIGINT:
        time.sleep(0.3)
        assert process.poll() is None
        assert json.loads(info.read_text())["health"]["outcome"] == "running"
        assert process.stdin is not None
        process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()
    assert json.loads(info.read_text())["health"]["outcome"] == "ok"
    assert read_stream(tmp_path / "a.arrows")[2] is False


def test_seal_of_nothing(tmp_path: Path) -> None:
    sealed = seal_session(tmp_path, "rec", 0)
    assert {name: table.num_rows for name, table in sealed.items()} == {
        "samples": 0,
        "channels": 0,
        "health": 0,
    }


def test_light_process() -> None:
    """The process of a source must not load pandas, nor when it writes: eight start at once."""
    code = (
        "import sys, tempfile, wattproof.recorder.process as p\n"
        "from wattproof.sources.base import Channel, Description, Status\n"
        "about = Description({}, (Channel('a', 'W', 'power', 'd'),))\n"
        "writer = p.StreamWriter(tempfile.mkdtemp() + '/a.arrows', about)\n"
        "writer.append([('a', None, 1, 2, 3, None, 4.0, Status.OK)])\n"
        "writer.close()\n"
        "print('pandas' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
