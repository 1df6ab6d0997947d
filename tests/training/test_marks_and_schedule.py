"""Marks on disk, and the learning-rate formulas."""

from __future__ import annotations

import json
import multiprocessing
import time

import pytest

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.training.marks import MarkWriter, read_marks
from wattproof.training.schedule import kept_epochs, learning_rate


def test_marks_are_stamped_and_read_back_in_order(tmp_path):
    before = time.monotonic_ns(), time.time_ns()
    writer = MarkWriter(tmp_path / "m")
    writer.mark("run_begin", run_id="a", slot=0)
    stamp = writer.mark("epoch_end", run_id="a", epoch=3, train_loss=0.5, val_accuracy=None)
    after = time.monotonic_ns(), time.time_ns()
    first, second = read_marks(tmp_path / "m")
    assert (first["kind"], first["run_id"], first["slot"], first["epoch"]) == (
        "run_begin",
        "a",
        0,
        None,
    )
    assert second["train_loss"] == 0.5
    assert second["val_accuracy"] is None
    assert before[0] <= first["mono_ns"] <= second["mono_ns"] == stamp <= after[0]
    assert before[1] <= first["wall_ns"] <= second["wall_ns"] <= after[1]


def test_marks_have_the_columns_of_their_table(tmp_path):
    MarkWriter(tmp_path / "m").mark("epoch_end")
    (mark,) = read_marks(tmp_path / "m")
    # The session adds where the mark was made.
    assert set(mark) | {"recording", "session"} <= set(tables.TABLES["marks"].names)


def test_a_loss_that_is_no_number_is_null(tmp_path):
    MarkWriter(tmp_path / "m").mark("epoch_end", val_loss=float("nan"), train_loss=float("inf"))
    text = (tmp_path / "m").read_text()
    assert json.loads(text)["val_loss"] is None
    assert "NaN" not in text
    assert "Infinity" not in text


@pytest.mark.parametrize("keep", [1, 20, -2])
def test_a_line_cut_by_a_kill_costs_only_itself(tmp_path, keep):
    path = tmp_path / "m"
    MarkWriter(path).mark("run_begin", run_id="a")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:keep])
    assert [m["kind"] for m in read_marks(path)] == ["run_begin"]
    MarkWriter(path).mark("run_end", run_id="a")
    assert [m["kind"] for m in read_marks(path)] == ["run_begin", "run_end"]


def test_a_changed_line_is_an_error(tmp_path):
    path = tmp_path / "m"
    path.write_text('{"kind": "run_begin"}\n{kind}\n{"kind": "run_end"}\n')
    with pytest.raises(WattproofError, match="line 2"):
        read_marks(path)


def test_no_file_is_an_error(tmp_path):
    with pytest.raises(WattproofError, match="does not exist"):
        read_marks(tmp_path / "m")


def write_many(path, run_id, count):
    writer = MarkWriter(path)
    for epoch in range(count):
        writer.mark("epoch_begin", run_id=run_id, epoch=epoch, train_loss=1 / 3)


def test_writers_in_several_processes_do_not_mix_lines(tmp_path):
    context = multiprocessing.get_context("fork")
    path = tmp_path / "m"
    processes = [context.Process(target=write_many, args=(path, name * 50, 500)) for name in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    marks = read_marks(path)
    for name in "abc":
        epochs = [m["epoch"] for m in marks if m["run_id"] == name * 50]
        assert epochs == list(range(500))


# By hand from ea_has_bench.md, section 6, with m = 1e-6, E = 4, base 2.
@pytest.mark.parametrize(
    ("policy", "epoch", "expected"),
    [
        ("cos", 0, 2.0),
        ("cos", 1, 2 * (0.999999 * 0.8535533905932737 + 1e-6)),
        ("cos", 2, 2 * (0.999999 * 0.5 + 1e-6)),
        ("lin", 0, 2.0),
        ("lin", 1, 2 * (0.999999 * 0.75 + 1e-6)),
        ("lin", 3, 2 * (0.999999 * 0.25 + 1e-6)),
        ("exp", 0, 2.0),
        ("exp", 2, 2e-3),
        ("exp", 3, 2 * 10**-4.5),
    ],
)
def test_schedules(policy, epoch, expected):
    assert learning_rate(policy, 2.0, epoch, 4) == pytest.approx(expected, rel=1e-12)


def test_unknown_policy():
    with pytest.raises(WattproofError, match="Did you mean 'cos'"):
        learning_rate("cosh", 0.1, 0, 4)


@pytest.mark.parametrize(
    ("epochs", "shorten", "kept"),
    [
        (50, 25, (0, 49)),
        (100, 25, (0, 33, 66, 99)),
        (200, 25, (0, 28, 57, 85, 114, 142, 171, 199)),
        (4, 1, (0, 1, 2, 3)),
        (7, 7, (0,)),
        (3, 100, (0,)),
    ],
)
def test_shortened_trainings_span_the_whole_schedule(epochs, shorten, kept):
    assert kept_epochs(epochs, shorten) == kept
