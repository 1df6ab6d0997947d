"""Sites become one campaign: what is taken over, what is refused, and that no nodes are mixed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import two_sites
from typer.testing import CliRunner

from wattproof import calibration, cli, clocks, config, energy, merge, offsocket, tables
from wattproof.errors import WattproofError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sites")
    for index, name in ((1, "a"), (2, "b")):
        two_sites.make(folder, two_sites.raw(name, index))
    return folder


@pytest.fixture
def sites(made: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Sites of its own for a test that spoils them."""
    for name in ("a", "b"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path / "a", tmp_path / "b"


def change_plan(site: Path, **changes: Any) -> None:
    """Let a site's plan say that it was made from another configuration."""
    path = site / "tables" / "plan.parquet"
    meta = tables.read_meta(path)
    for key, value in changes.items():
        meta.extra["config"][key] |= value
    tables.write(tables.read(path, "plan"), "plan", path, meta)


def test_the_whole_plan_with_every_sites_provenance(made: Path, tmp_path: Path) -> None:
    into = tmp_path / "all"
    done = merge.merge([made / "a", made / "b"], into)
    assert done.runs == 13
    settings = config.validate(
        config.read_yaml(done.campaign_file), two_sites.SCHEMA, str(done.campaign_file)
    )
    assert settings["plan"]["part"] is None
    site_of, trainings = merge.load(settings, "all")
    assert set(site_of.values()) == {"a", "b"}
    assert len(trainings) == 7
    assert set(site_of) - set(trainings) == {"calibration-000", "calibration-001"}
    table = tables.read_frame(into / "tables" / "plan.parquet", "plan")
    assert set(table["recording"]) == set(site_of)
    assert table["run_id"].is_unique
    for recording, site in site_of.items():
        for name in merge.SEALED:
            mine = into / "recordings" / recording / f"{name}.parquet"
            theirs = made / site / "recordings" / recording / f"{name}.parquet"
            assert mine.samefile(theirs)
            assert tables.read_meta(mine).campaign == site
    about = json.loads((into / "sites.json").read_text())["sites"]
    assert about["a"]["node"]["seed"] == 10
    assert about["b"]["node"]["seed"] == 20
    serials = [json.dumps(about[site]["instruments"]["nvml"]) for site in ("a", "b")]
    assert serials[0] != serials[1]


def test_again_changes_no_file_and_takes_what_is_new(sites: tuple[Path, Path]) -> None:
    into = sites[0].parent / "all"
    later = sites[1] / "recordings" / "single-003"
    if not later.exists():
        later = sites[1] / "recordings" / "single-002"
    aside = later.with_name("aside")
    later.rename(aside)
    with pytest.raises(WattproofError, match=rf"b is not complete: 1 recording.*{later.name}"):
        merge.merge(sites, into)
    assert merge.merge(sites, into, partial=True).runs == 11
    campaign = into / "campaign.yaml"
    campaign.write_text(campaign.read_text() + "analysis: {min_samples: 4}\n")
    stamps = {path: path.stat().st_mtime_ns for path in into.rglob("*.parquet")}
    aside.rename(later)
    assert merge.merge(sites, into).runs == 13
    for path, stamp in stamps.items():
        if path.name != "plan.parquet":
            assert path.stat().st_mtime_ns == stamp
    assert config.read_yaml(campaign)["analysis"] == {"min_samples": 4}
    before = {path: path.stat().st_mtime_ns for path in into.rglob("*") if path.is_file()}
    merge.merge(sites, into)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_sites_of_another_plan_are_refused_with_the_key(sites: tuple[Path, Path]) -> None:
    a, b = sites
    change_plan(b, training={"data_dir": "/elsewhere", "time_limit_s": 9}, node={"seed": 77})
    merge.merge(sites, a.parent / "all")
    change_plan(b, training={"train_images": 5000})
    with pytest.raises(WattproofError) as caught:
        merge.merge(sites, a.parent / "all")
    text = str(caught.value)
    assert "key 'training.train_images' is 5000, not 4000" in text
    assert text.startswith(str(b))
    assert "\n" not in text


def test_the_same_recording_twice(sites: tuple[Path, Path]) -> None:
    """Equal to the byte it counts once; with other results it is refused."""
    a, b = sites
    c = a.parent / "c"
    shutil.copytree(a, c)
    assert merge.merge([a, b, c], a.parent / "all").runs == 13
    path = c / "recordings" / "single-000" / "runs.parquet"
    if not path.exists():
        path = c / "recordings" / "single-001" / "runs.parquet"
    runs = tables.read_frame(path, "runs")
    runs["val_accuracy"] = 0.5
    tables.write(runs, "runs", path, tables.read_meta(path))
    with pytest.raises(WattproofError, match=rf"Recording {path.parent.name} is in .*different"):
        merge.merge([a, b, c], a.parent / "all")


def test_simulated_and_real_are_not_mixed_unless_said(sites: tuple[Path, Path]) -> None:
    a, b = sites
    path = b / "tables" / "plan.parquet"
    old = tables.read_meta(path)
    meta = tables.Meta(old.campaign, False, extra=old.extra)
    tables.write(tables.read(path, "plan"), "plan", path, meta)
    with pytest.raises(WattproofError, match=r"a is simulated and .*b is not"):
        merge.merge(sites, a.parent / "all")
    merge.merge(sites, a.parent / "all", mixed=True)
    assert tables.read_meta(a.parent / "all" / "tables" / "plan.parquet").simulated


@pytest.mark.parametrize(
    ("names", "into", "words"),
    [
        (["a"], "all", "two campaigns or more"),
        (["a", "a"], "all", "two campaigns or more"),
        (["a", "nowhere"], "all", "nowhere is not the results folder of a campaign"),
        (["a", "b"], "b", "is a site itself"),
        (["a", "b"], "full", "holds something else already"),
    ],
)
def test_mistakes_are_one_sentence(
    made: Path, tmp_path: Path, names: list[str], into: str, words: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    target = made / into if into == "b" else tmp_path / into
    arguments = ["merge", *(str(made / name) for name in names), "--into", str(target)]
    done = CliRunner().invoke(cli.app, arguments)
    assert isinstance(done.exception, WattproofError)
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)


def test_a_plan_of_an_older_wattproof(sites: tuple[Path, Path]) -> None:
    path = sites[1] / "tables" / "plan.parquet"
    tables.write(tables.read(path, "plan"), "plan", path, tables.Meta("b", True))
    with pytest.raises(WattproofError, match=r"older wattproof .* delete it and run"):
        merge.merge(sites, sites[0].parent / "all")


def energies(folder: Path, settings: config.Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables energy and channels of all recordings below a folder."""
    found, listed = [], []
    for path in sorted((folder / "recordings").iterdir()):
        samples, channels, marks, runs = (
            tables.read_frame(path / f"{name}.parquet", name)
            for name in ("samples", "channels", "marks", "runs")
        )
        clock = clocks.align(samples, channels, marks, settings)
        windows = energy.cut_windows(marks, runs)
        found.append(energy.integrate(samples, channels, clock, windows, settings))
        listed.append(channels)
    return pd.concat(found, ignore_index=True), pd.concat(listed, ignore_index=True)


def test_each_site_is_calibrated_by_its_own_node(made: Path, tmp_path: Path) -> None:
    done = merge.merge([made / "a", made / "b"], tmp_path / "all")
    settings = config.validate(config.read_yaml(done.campaign_file), two_sites.SCHEMA, "all")
    site_of, _ = merge.load(settings, "all")
    analysis = {**settings["analysis"], "min_confidence": 0.3}
    rows, channels = energies(tmp_path / "all", analysis)
    nodes = offsocket.fit_sites(rows, site_of)
    assert isinstance(nodes, offsocket.BySite)
    say = {"alpha": 0.05, "memory_gib": 2048}
    both = calibration.calibrate_sites(rows, channels, nodes, {"a": say, "b": say})
    assert both.table["estimator"].tolist().count("load_calibrated") == 3
    for site in ("a", "b"):
        own, own_channels = energies(made / site, analysis)
        assert nodes.found[site] == offsocket.fit(own)
        alone = calibration.calibrate(own, own_channels, offsocket.fit(own), say)
        key = ["estimator", "window_id"]
        mine = both.estimates[both.estimates["window_id"].isin(alone.estimates["window_id"])]
        pd.testing.assert_frame_equal(
            mine.sort_values(key).reset_index(drop=True),
            alone.estimates.sort_values(key).reset_index(drop=True),
        )
        told = both.table[both.table["device"] == f"node {site}"].set_index("estimator")
        known = alone.table[alone.table["device"] == "node"].set_index("estimator")
        assert told["parameters"].to_dict() == known["parameters"].to_dict()
    assert nodes.found["a"] != nodes.found["b"]
    pooled = both.table[both.table["device"] == "node"].set_index("estimator")
    assert pooled.loc["load_calibrated", "n"] == 13
    assert "each site calibrated by itself" in pooled.loc["load_calibrated", "held_out"]
    tables.conform(both.table, "calibration")
    tables.conform(both.agreement, "agreement")
