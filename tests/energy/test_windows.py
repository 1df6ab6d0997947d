"""Windows cut from marks."""

from __future__ import annotations

import pandas as pd

from wattproof import energy, tables


def mark(kind, at, run_id="a", name=None, epoch=None, session=0, slot=0):
    return {
        "recording": "r", "session": session, "run_id": run_id, "kind": kind, "name": name,
        "epoch": epoch, "slot": slot, "mono_ns": at, "wall_ns": 0,
    }  # fmt: skip


def run(run_id="a", session=0, status="ok", setting="single", slot=0):
    return {
        "recording": "r", "session": session, "run_id": run_id, "setting": setting, "slot": slot,
        "status": status,
    }  # fmt: skip


def training(start, session=0, run_id="a", finish=True):
    marks = [mark("run_begin", start, run_id, session=session)]
    for epoch in range(2):
        at = start + 100 * epoch + 10
        marks.append(mark("epoch_begin", at, run_id, epoch=epoch, session=session))
        for name, a, b in (("train", 0, 60), ("eval", 60, 80)):
            marks.append(mark("phase_begin", at + a, run_id, name, epoch, session))
            marks.append(mark("phase_end", at + b, run_id, name, epoch, session))
        marks.append(mark("epoch_end", at + 80, run_id, epoch=epoch, session=session))
    return [*marks, mark("run_end", start + 300, run_id, session=session)] if finish else marks


def cut(marks, runs):
    found = energy.cut_windows(pd.DataFrame(marks), pd.DataFrame(runs))
    tables.conform(found, "windows")
    assert found["window_id"].is_unique
    return found.set_index("window_id")


def test_run_epochs_and_phases() -> None:
    found = cut(training(1000), [run()])
    assert sorted(found.index) == [
        "a/epoch-000",
        "a/epoch-000/eval",
        "a/epoch-000/train",
        "a/epoch-001",
        "a/epoch-001/eval",
        "a/epoch-001/train",
        "a/run",
    ]
    row = found.loc["a/epoch-001/eval"]
    assert (row["level"], row["kind"], row["epoch"], row["setting"]) == (
        "phase",
        "eval",
        1,
        "single",
    )
    assert (row["start_ns"], row["end_ns"]) == (1170, 1190)
    assert (found.loc["a/run", "start_ns"], found.loc["a/run", "end_ns"]) == (1000, 1300)


def test_an_interrupted_session_leaves_no_windows() -> None:
    marks = training(1000, session=0, finish=False) + training(50, session=1)
    found = cut(marks, [run(session=1)])
    assert len(found) == 7
    assert (found["session"] == 1).all()


def test_a_run_started_anew_in_the_same_session_counts_once() -> None:
    found = cut(training(1000, finish=False) + training(5000), [run()])
    assert len(found) == 7
    assert found["start_ns"].min() == 5000


def test_failed_and_unknown_runs_have_no_windows() -> None:
    assert len(cut(training(0), [run(status="failed")])) == 0
    assert len(cut(training(0), [run("other")])) == 0


def test_loads() -> None:
    marks = [
        mark("load_begin", 0, "cal", "idle"),
        mark("load_end", 10, "cal", "idle"),
        mark("load_begin", 20, "cal", "idle"),
        mark("load_end", 30, "cal", "idle"),
        mark("load_begin", 5, None, "sync", slot=None),
        mark("load_end", 15, None, "sync", slot=None),
        mark("load_begin", 40, "cal", "prime"),
    ]
    found = cut(marks, [run("cal", setting="calibration")])
    assert list(found.index) == ["cal/idle", "r/session-000/sync", "cal/idle-2"]
    assert (found["setting"] == "calibration").all()
    assert (found["level"] == "load").all()
    assert found["epoch"].isna().all()
    assert pd.isna(found.loc["r/session-000/sync", "run_id"])


def test_interleaved_runs_of_a_packed_recording() -> None:
    marks = training(1000, run_id="a") + training(1003, run_id="b")
    found = cut(marks, [run("a", setting="packed"), run("b", setting="packed", slot=1)])
    assert len(found) == 14
    assert found.loc["b/run", "slot"] == 1
    assert found.loc["b/run", "end_ns"] == 1303


def test_nothing_gives_an_empty_table() -> None:
    found = energy.cut_windows(tables.empty("marks"), tables.empty("runs"))
    assert len(tables.conform(found, "windows")) == 0
