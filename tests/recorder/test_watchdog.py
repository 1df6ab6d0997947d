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

from wattproof.recorder import Recorder, child, loops, priority, read_stream, seal_session, watchdog
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
        "sleeps": {"block_at": 20, "block_s": 600, "once": str(tmp_path / "sleeps")},
        "holds": {"hold_at": 20, "block_s": 600, "once": str(tmp_path / "holds")},
        "stopped": {},
        "well": {},
    }
    factories = dict.fromkeys(sources, FACTORY)
    with Recorder(tmp_path, sources, REAL, factories=factories) as running:
        time.sleep(0.6)
        pids = {name: pid_of(tmp_path, name) for name in sources}
        os.kill(pids["stopped"], signal.SIGSTOP)
        end = time.monotonic() + loops.HUNG_S + watchdog.CONFIRM_S + 15
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


class Victim:
    """A process as far as the watchdog knows it."""

    def __init__(self) -> None:
        self.kills = 0

    def kill(self) -> None:
        self.kills += 1


def test_a_pause_of_the_whole_machine_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog wakes first, sees an old promise, and must give the process a chance."""
    now_s = [1000.0]
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now_s[0])
    dog, victim = watchdog.Watchdog(), Victim()
    beat = loops.Beat(dog.arm())

    def look() -> int:
        dog.look(victim, True, 20.0)  # type: ignore[arg-type]
        return victim.kills

    beat.promise(round((now_s[0] + 5) * 1e9))
    assert look() == 0
    now_s[0] += 60.0  # the machine slept
    assert look() == 0
    beat.promise(round((now_s[0] + 5) * 1e9))
    now_s[0] += 2.0
    assert look() == 0
    now_s[0] += 4.0  # now it is really silent
    assert look() == 0
    now_s[0] += 1.0
    assert look() == 1
    assert dog.verdict.startswith("hung")
    assert not dog.in_vain()
    now_s[0] += 5.5  # and the kill has no effect
    assert dog.in_vain()
    assert look() == 1, "nothing is killed twice"
    dog.arm()
    assert not dog.in_vain()
    dog.disarm()
    dog.disarm()


def test_a_process_that_hangs_inside_the_kernel_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be killed nor waited for: neither restart nor stop may wait for it for ever."""
    monkeypatch.setattr(child, "TERMINATE_S", 0.05)
    monkeypatch.setattr(child, "KILLED_S", 0.05)
    one = Child("a", "", {}, REAL, tmp_path, FACTORY)
    one.start()
    real = one.process
    assert real is not None

    def wait(timeout: float | None = None) -> int:
        assert timeout is not None, "this would wait for ever"
        raise subprocess.TimeoutExpired("a", timeout)

    monkeypatch.setattr(real, "wait", wait)
    begin = time.monotonic()
    one.join(begin)
    one.join(begin)
    assert time.monotonic() - begin < 2.0
    monkeypatch.undo()
    real.kill()
    real.wait()


def test_a_start_that_hangs_again_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart nobody waits for "ready", but the watchdog does."""
    monkeypatch.setattr(watchdog, "CONFIRM_S", 0.2)
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
print(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER)
child = os.popen("python3 -c 'import os; print(os.sched_getscheduler(0) == os.SCHED_OTHER)'")
print(child.read().strip())
"""


def test_high_priority_is_bounded() -> None:
    """A sampler must never slow the training: one that computes on steps back by itself."""
    out = subprocess.run(
        [sys.executable, "-c", BOUND], capture_output=True, text=True, check=True
    ).stdout
    levels = (priority.REAL_TIME, priority.NICE, priority.SHORT_SLICE, priority.ORDINARY)
    told, *bounded = out.rsplit(maxsplit=2)
    assert told in levels
    assert bounded == ["True", "True"]


def test_a_read_that_spins_steps_back_and_goes_on(tmp_path: Path) -> None:
    """Longer than the soft bound, shorter than a hang: the process lives, at ordinary priority."""
    settings = {"a": {"spin_at": 10, "block_s": 1.0}}
    with Recorder(tmp_path, settings, REAL, factories={"a": FACTORY}) as running:
        time.sleep(1.8)
        running.check()
        pid = pid_of(tmp_path, "a")
        assert os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER
    (health,) = running.stop()
    assert (health.outcome, health.restarts) == ("ok", 0)
    assert health.missed >= 40
    info = json.loads((tmp_path / "streams" / "a.json").read_text())
    assert info["health"]["priority"].startswith(priority.ORDINARY)


def test_a_process_that_was_stopped_reads_as_soon_as_it_is_continued(tmp_path: Path) -> None:
    """The kernel would let it sleep what was left of its sleep, whatever time has passed."""
    with Recorder(tmp_path, {"a": {"period_s": 0.8}}, REAL, factories={"a": FACTORY}):
        stream = tmp_path / "streams" / "a.arrows"
        end = time.monotonic() + 10
        while not read_stream(stream)[0].num_rows:
            assert time.monotonic() < end
            time.sleep(0.05)
        first = read_stream(stream)[0]["scheduled_ns"].to_pylist()[0]
        # The first row is on disk at most half a second after its read; wait for the next tick.
        time.sleep(max(0.0, (first + 850_000_000 - time.monotonic_ns()) / 1e9))
        pid = pid_of(tmp_path, "a")
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1.0)
        os.kill(pid, signal.SIGCONT)
        continued_ns = time.monotonic_ns()
        time.sleep(0.4)
    starts = read_stream(stream)[0]["start_ns"].to_pylist()
    after = [start for start in starts if start > continued_ns - 50_000_000]
    assert after, "the deadline that passed while it was stopped is read at once"
    assert after[0] - continued_ns < 300_000_000
