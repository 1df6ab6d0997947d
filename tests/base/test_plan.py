"""The plan: pure, append-only, and blind to analysis settings."""

import copy
from pathlib import Path

from wattproof import config, plan, tables

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = config.load_schema(ROOT / "config/schema/campaign.schema.json")


def demo(**plan_changes: object) -> config.Config:
    raw = config.read_yaml(ROOT / "config/config.yaml")
    raw["plan"] |= plan_changes
    return config.validate(raw, SCHEMA, "c")


def digests(settings: config.Config) -> dict[str, str]:
    rows = plan.by_recording(plan.make_plan(settings))
    return {name: plan.recording_digest(part) for name, part in rows.items()}


def test_demo_has_what_the_readme_says() -> None:
    rows = plan.make_plan(demo())
    trainings = [row for row in rows if row.setting == "single"]
    assert len(trainings) == 26
    assert len({row.network_key for row in trainings}) == 24
    assert len({row.run_id for row in rows}) == len(rows)
    loads = [row.spec["load"] for row in rows if row.setting == "calibration"]
    recordings = plan.by_recording(rows)
    assert loads.count("prime") == loads.count("stress") == loads.count("gpu") == 3
    assert len(recordings) == 5
    assert loads.count("sync") == 2 * len(recordings)
    for part in recordings.values():
        assert part[0].spec["load"] == part[-1].spec["load"] == "sync"
        assert [row.position for row in part] == list(range(len(part)))


def test_same_config_same_plan() -> None:
    assert plan.make_plan(demo()) == plan.make_plan(demo())


def test_more_runs_keep_the_full_recordings() -> None:
    before, after = digests(demo(runs=16, replicates=0)), digests(demo(runs=24, replicates=0))
    assert list(after) == [*before, "single-002"]
    assert {name: after[name] for name in before} == before


def test_analysis_settings_change_no_recording() -> None:
    changed = copy.deepcopy(demo())
    changed["analysis"]["min_samples"] += 1
    changed["surrogate"]["trees"] += 1
    changed["training"]["time_limit_s"] += 1
    assert digests(changed) == digests(demo())


def test_what_determines_a_run_changes_its_digest() -> None:
    for section, key, value in [
        ("training", "train_images", 512),
        ("node", "seed", 8),
        ("plan", "seed", 2),
    ]:
        changed = copy.deepcopy(demo())
        changed[section][key] = value
        both = digests(changed), digests(demo())
        assert both[0]["single-000"] != both[1]["single-000"], (section, key)
    fewer = copy.deepcopy(demo())
    del fewer["sources"]["smi"]
    assert digests(fewer)["single-000"] != digests(demo())["single-000"]


def test_rows_come_back_from_the_table(tmp_path: Path) -> None:
    rows = plan.make_plan(demo())
    meta = tables.Meta("demo", simulated=True)
    tables.write([row.as_row() for row in rows], "plan", tmp_path / "plan.parquet", meta)
    table = tables.read(tmp_path / "plan.parquet", "plan")
    for name, part in plan.by_recording(rows).items():
        assert plan.read_rows(table, name) == part
