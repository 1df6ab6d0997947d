"""What hangs is found, ended, started again, and told; what computes too long slows nobody."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.compute as pc
import pytest
from faulty_sources import FACTORY

from wattproof.recorder import Recorder, child, loops, priority, read_stream, seal_session
from wattproof.recorder.child import Child
from wattproof.sources.base import Pacing

REAL = {"kind": "real", "dir": None}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def pid_of(folder: Path, stem: str) -> int:
    _, description, _ = read_stream(folder / "streams" / f"{stem}.arrows")
    return int(description["identity"]["pid"])


def test_hangs_of_three_kinds_are_mended_and_counted(tmp_path: Path) -> None:
    sources: dict[str, dict[str, Any]] = {
        "sleeps": {"block_at": 20, "block_s": 600},
        "holds": {"hold_at": 20, "block_s": 600},
        "stopped": {},
        "well": {},
    }
    factories = dict.fromkeys(sources, FACTORY)
    with Recorder(tmp_path, sources, REAL, factories=factories) as running:
        time.sleep(0.6)
        pids = {name: pid_of(tmp_path, name) for name in sources}
        os.kill(pids["stopped"], signal.SIGSTOP)
        end = time.monotonic() + loops.HUNG_S + child.CONFIRM_S + 15
        lame = ("sleeps", "holds", "stopped")
        while not all((tmp_path / "streams" / f"{name}.1.arrows").exists() for name in lame):
            assert time.monotonic() < end, "not started again in time"
            running.check()
            time.sleep(0.1)
        time.sleep(0.3)
        for name in lame:
            assert not Path(f"/proc/{pids[name]}").exists(), "no process is left behind"
    told = {health.source: health for health in running.stop()}
    assert {name: told[name].hangs for name in sources} == {
        **dict.fromkeys(lame, 1),
        "well": 0,
    }
    sealed = seal_session(tmp_path, "rec", 0)
    rows = {row["source"]: row for row in sealed["health"].to_pylist()}
    for name in lame:
        row = rows[name]
        assert row["outcome"].startswith("hung: a read did not end; ended by the watchdog")
        assert (row["hangs"], row["restarts"]) == (1, 1)
        assert row["missed"] >= loops.HUNG_S / 0.02, "the time of the hang is a counted gap"
        assert row["expected"] == row["taken"] + row["missed"]
        assert row["longest_gap_s"] >= loops.HUNG_S
        mine = sealed["samples"].filter(pc.equal(sealed["samples"]["source"], name))
        assert mine["value"].to_pylist().count(0.0) == 2, "samples from before and after"
    # What was read before the hang is there: up to the hang itself where the process was alive.
    sleeps, _, _ = read_stream(tmp_path / "streams" / "sleeps.arrows")
    assert sleeps["value"].to_pylist() == [float(i) for i in range(20)]
    assert (rows["well"]["hangs"], rows["well"]["outcome"]) == (0, "ok")


@pytest.mark.parametrize(
    ("pacing", "period_s", "own_s", "limit_s"),
    [
        ("deadline", 0.01, None, 5.0),
        ("deadline", 0.5, None, 10.0),
        ("deadline", 60.0, None, 30.0),
        ("pause", 0.1, 10.0, 15.0),
        ("stream", 0.1, None, 10.0),
    ],
)
def test_how_long_a_read_may_take(
    pacing: str, period_s: float, own_s: float | None, limit_s: float
) -> None:
    source = SimpleNamespace(pacing=Pacing(pacing), period_s=period_s)
    if own_s is not None:
        source.read_limit_s = own_s
    assert loops.hung_limit_s(source) == limit_s  # type: ignore[arg-type]


def test_a_pause_of_the_whole_machine_is_no_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog wakes first, sees an old promise, and must give the process a chance."""
    one = Child("a", "", {}, REAL, tmp_path, FACTORY)
    kills: list[bool] = []
    one.process = SimpleNamespace(kill=lambda: kills.append(True))  # type: ignore[assignment]
    one.ready = True
    one._beat = os.memfd_create("test")
    os.truncate(one._beat, loops.SIZE)
    beat = loops.Beat(one._beat)
    now = [10**12]
    monkeypatch.setattr(child.time, "monotonic_ns", lambda: now[0])
    beat.promise(now[0] + 5 * 10**9)
    one.watch(20.0)
    now[0] += 60 * 10**9  # the machine slept
    one.watch(20.0)
    beat.promise(now[0] + 5 * 10**9)
    now[0] += 2 * 10**9
    one.watch(20.0)
    assert not kills
    now[0] += 4 * 10**9  # now it is really silent
    one.watch(20.0)
    assert not kills
    now[0] += 1 * 10**9
    one.watch(20.0)
    assert kills == [True]
    assert one.verdict.startswith("hung")


def test_a_start_that_hangs_again_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart nobody waits for "ready", but the watchdog does."""
    monkeypatch.setattr(child, "CONFIRM_S", 0.2)
    one = Child("a", "", {"open": "sleep"}, REAL, tmp_path, FACTORY)
    one.start()
    end = time.monotonic() + 20
    while not one.ended():
        assert time.monotonic() < end
        one.listen()
        one.watch(0.5)
        time.sleep(0.05)
    one.join(time.monotonic())
    one.note_failure(one.why())
    assert json.loads(one.info.read_text())["health"]["outcome"] == (
        "hung: it was not ready after 0.5 s; ended by the watchdog"
    )


BOUND = """
import os, time
from wattproof.recorder import priority
priority.guard(lambda: None)
print(priority.raise_priority(), flush=True)
end = time.monotonic() + 1.0
while time.monotonic() < end:
    pass
print(os.sched_getscheduler(0) == os.SCHED_OTHER)
child = os.popen("python3 -c 'import os; print(os.sched_getscheduler(0) == os.SCHED_OTHER)'")
print(child.read().strip())
"""


def test_high_priority_is_bounded() -> None:
    """A sampler must never slow the training: one that computes on steps back by itself."""
    out = subprocess.run(
        [sys.executable, "-c", BOUND], capture_output=True, text=True, check=True
    ).stdout.split()
    assert out[0] in (priority.REAL_TIME, priority.NICE, priority.ORDINARY)
    assert out[1:] == ["True", "True"]


def test_a_read_that_spins_steps_back_and_goes_on(tmp_path: Path) -> None:
    """Longer than the soft bound, shorter than a hang: the process lives, at ordinary priority."""
    settings = {"a": {"spin_at": 10, "block_s": 1.0}}
    with Recorder(tmp_path, settings, REAL, factories={"a": FACTORY}) as running:
        time.sleep(1.8)
        running.check()
        pid = pid_of(tmp_path, "a")
        assert os.sched_getscheduler(pid) == os.SCHED_OTHER
    (health,) = running.stop()
    assert (health.outcome, health.restarts) == ("ok", 0)
    assert health.missed >= 40
    info = json.loads((tmp_path / "streams" / "a.json").read_text())
    assert info["health"]["priority"].startswith(priority.ORDINARY)
