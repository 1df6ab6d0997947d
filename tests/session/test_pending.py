"""What is left of a recording is decided by the result files alone."""

from pathlib import Path

import pytest

from wattproof.errors import WattproofError
from wattproof.plan import PlanRow
from wattproof.session import Paths, seal
from wattproof.session.record import pending


def row(name: str, position: int) -> PlanRow:
    load = {"kind": "load", "load": name} if name in ("sync", "idle") else {"kind": "train"}
    run_id = f"{position}-{name}"
    return PlanRow(run_id, "single", "rec", position, None, 0, load, "", {})


ROWS = [row(name, i) for i, name in enumerate(("sync", "idle", "a", "b", "sync"))]


def left(paths: Paths, *done: int) -> list[int]:
    paths.runs.mkdir(parents=True, exist_ok=True)
    for position in done:
        paths.result(ROWS[position].run_id).write_text("{}")
    return [r.position for r in pending(ROWS, paths)]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "raw", tmp_path / "truth")


def test_everything_at_first(paths: Paths) -> None:
    assert left(paths) == [0, 1, 2, 3, 4]


def test_the_pattern_is_played_again_around_what_is_left(paths: Paths) -> None:
    assert left(paths, 0, 1, 2) == [0, 3, 4]
    assert left(paths, 4) == [0, 3, 4]


def test_the_pattern_alone_is_no_reason_to_record(paths: Paths) -> None:
    assert left(paths, 0, 1, 2, 3) == []


def test_an_incomplete_recording_is_not_sealed(paths: Paths) -> None:
    left(paths, 0, 1, 2)
    with pytest.raises(WattproofError, match=r"rec is not complete: 1 run\(s\).*3-b"):
        seal("rec", ROWS, paths)
