"""A campaign grows: what was planned before keeps its name, its digest and its recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as fewer
from hypothesis import strategies as st

from wattproof import config, outline, plan, preflight
from wattproof.errors import WattproofError
from wattproof.session import Paths
from wattproof.session.paths import missing

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = config.load_schema(ROOT / "config/schema/campaign.schema.json")
OFFLINE = {"kind": "virtual", "preset": "paper", "mode": "offline"}


def campaign(**changes: Any) -> config.Config:
    planned = {"runs": 24, "replicates": 2, "seed": 1, "runs_per_recording": 7, **changes}
    return config.validate({"campaign": "c", "node": OFFLINE, "plan": planned}, SCHEMA, "c.yaml")


def parts(settings: config.Config) -> dict[str, list[plan.PlanRow]]:
    return plan.by_recording(plan.make_plan(settings))


def digests(settings: config.Config) -> dict[str, str]:
    return {name: plan.recording_digest(rows) for name, rows in parts(settings).items()}


def test_24_runs_become_30() -> None:
    before, after = digests(campaign()), digests(campaign(runs=30))
    grown = {name for name in before if after[name] != before[name]}
    assert grown == {"single-003"}  # the last one, with 3 of 7 runs
    assert set(after) - set(before) == {"single-004"}


def test_the_recording_that_grows_trains_only_what_was_added(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "raw", tmp_path / "truth")
    paths.runs.mkdir(parents=True)
    for row in parts(campaign())["single-003"]:
        paths.result(row.run_id).write_text("{}")
    left = missing(parts(campaign(runs=30))["single-003"], paths)
    assert [row.run_id[:12] for row in left] == [f"single-{i:05d}" for i in range(24, 28)]


@fewer(max_examples=25)
@given(
    runs=st.integers(1, 40),
    more=st.integers(0, 20),
    replicates=st.integers(0, 10),
    again=st.integers(0, 5),
    size=st.integers(1, 9),
    of=st.integers(1, 4),
)
def test_no_run_ever_moves(
    runs: int, more: int, replicates: int, again: int, size: int, of: int
) -> None:
    """By name, digest, recording and position; also when a site trains a part of the plan."""

    def place(index: int, **changes: Any) -> dict[str, tuple[str, str, int]]:
        part = {"index": index, "of": of}
        rows = plan.make_plan(campaign(runs_per_recording=size, part=part, **changes))
        return {row.run_id: (row.digest, row.recording, row.position) for row in rows if row.config}

    for index in range(1, of + 1):
        before = place(index, runs=runs, replicates=replicates)
        after = place(index, runs=runs + more, replicates=replicates + again)
        assert before.items() <= after.items()


def test_parts_are_the_whole_plan_and_each_calibrates_its_own_node() -> None:
    whole = parts(campaign())
    sites = [parts(campaign(part={"index": index, "of": 3})) for index in (1, 2, 3)]
    names = [name for site in sites for name in site]
    assert len(set(names)) == len(names)
    assert set(names) - set(whole) == {"calibration-001", "calibration-002"}
    assert set(whole) <= set(names)
    for site in sites:
        assert sum(name.startswith("calibration") for name in site) == 1
        for name in set(site) & set(whole):
            assert site[name] == whole[name]


def test_parts_that_cannot_be() -> None:
    with pytest.raises(WattproofError, match="part 4 of 3; give an index from 1 to 3"):
        preflight.check(campaign(part={"index": 4, "of": 3}), "c.yaml")
    kept = 0
    for index in range(1, 10):
        settings = campaign(part={"index": index, "of": 9})
        if any(row.config for row in plan.make_plan(settings)):
            kept += len(parts(settings)) - 1
            continue
        with pytest.raises(WattproofError, match=f"part {index} of 9 holds no recording; use few"):
            preflight.check(settings, "c.yaml")
    assert kept == 5  # all recordings of trainings, though not all parts have one


def test_outline_says_what_the_plan_says_and_is_read_back(tmp_path: Path, monkeypatch: Any) -> None:
    settings = preflight.check(campaign(), "c.yaml")
    made = outline.of(settings, tmp_path)
    assert {name: about.digest for name, about in made.items()} == digests(settings)
    assert sum(about.trainings for about in made.values()) == 26
    monkeypatch.setattr(plan, "make_plan", None)  # not called again
    assert outline.is_kept(settings, tmp_path)
    assert outline.of(settings, tmp_path) == made
    assert list(outline.of(settings, tmp_path)) == list(made)
    assert preflight.check(campaign(), "c.yaml", tmp_path) == settings


def test_outline_of_another_plan_or_broken_is_made_anew(tmp_path: Path) -> None:
    outline.of(campaign(), tmp_path)
    assert not outline.is_kept(campaign(runs=25), tmp_path)
    (file,) = tmp_path.glob("*.json")
    for text in ("", "[1]", '{"a": {}}'):
        file.write_text(text)
        assert not outline.is_kept(campaign(), tmp_path)
        assert outline.of(campaign(), tmp_path) == outline.of(campaign())
