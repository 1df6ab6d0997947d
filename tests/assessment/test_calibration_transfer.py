"""A calibration made on one node and used on another of its type."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from offline_campaign import calibrated, energies

from wattproof import calibration, offsocket, tables
from wattproof.calibration import transfer
from wattproof.errors import WattproofError
from wattproof.tables import Meta, conform

META = Meta("there", simulated=True, host="n1")


def made(seed: int, preset: str = "pcie8") -> transfer.Transfer:
    channels = energies(preset, seed)[1]
    return transfer.from_calibration(calibrated(preset, seed).table, channels, META)


def used(kept: transfer.Transfer, seed: int, preset: str = "pcie8"):
    """Runs of another node, without its meter's help."""
    energy, channels = energies(preset, seed)
    found = calibration.calibrate(
        energy, channels, offsocket.fit(energy), {"alpha": 0.05}, transfer.as_estimator(kept)
    )
    conform(found.table, "calibration")
    row = found.table.set_index("estimator").loc["transferred"]
    mine = found.estimates[found.estimates["estimator"] == "transferred"]
    return row, mine[mine["level"] == "run"]


def test_a_file_says_what_was_put_in(tmp_path):
    kept = made(1)
    transfer.save(tmp_path / "c.json", kept)
    assert transfer.load(tmp_path / "c.json") == kept
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["simulated"] is True
    assert content["provenance"]["campaign"] == "there"
    assert sum(content["provenance"]["gpus"].values()) == 8
    assert content["parameters"]["per_gpu_w"]["u"] > 0
    assert [p.name for p in tmp_path.iterdir()] == ["c.json"]


def test_on_its_own_node_it_says_what_it_said_there():
    row, runs = used(made(1), 1)
    assert row["error_max"] < 0.03
    assert row["n"] == 24
    assert runs["lower_j"].isna().all()
    assert "no interval" in row["refused"]  # one node cannot tell how unlike another is


def test_several_nodes_tell_the_spread_and_intervals_cover_another():
    single = [made(seed) for seed in (1, 2, 3)]
    kept = transfer.combine(single)
    assert kept.nodes == 3
    assert 0 < kept.between_nodes < 0.1
    own = max(t.half_width for t in single)
    assert transfer.half_width(kept) > max(own, 2 * kept.between_nodes)
    row, runs = used(kept, 4)
    assert row["n"] >= 20
    assert row["error_max"] < transfer.half_width(kept) + 0.01
    assert row["coverage"] >= 0.9
    assert runs["energy_j"].notna().all()


def test_outside_its_range_a_window_gets_no_estimate_and_the_reason():
    kept = made(1)
    _, high, unit = kept.valid_range["gpu_w"]
    narrow = dataclasses.replace(
        kept, valid_range={**kept.valid_range, "gpu_w": (high, high + 1.0, unit)}
    )
    row, runs = used(narrow, 1)
    assert row["n"] == 0
    assert len(runs) == 0  # wholly refused estimators have no rows
    assert "lies outside the calibrated range" in row["refused"]
    assert f"{high:.1f} to {high + 1:.1f} W" in row["refused"]


def test_only_the_windows_outside_are_refused():
    kept = made(1)
    gpu = used(kept, 1)[1].merge(
        offsocket.node_balance(energies("pcie8", 1)[0])[["gpu_w"]],
        left_on="window_id",
        right_index=True,
    )["gpu_w"]
    middle = float(np.median(gpu))
    half = dataclasses.replace(
        kept, valid_range={**kept.valid_range, "gpu_w": (middle, kept.valid_range["gpu_w"][1], "W")}
    )
    row, runs = used(half, 1)
    assert 0 < row["n"] < 24
    assert runs["energy_j"].isna().sum() == 24 - row["n"]


def test_files_that_are_none(tmp_path):
    path = tmp_path / "c.json"
    transfer.save(path, made(1))
    whole = json.loads(path.read_text())
    for broken in (
        "",
        "[]",
        "{}",
        json.dumps(whole | {"format": "x"}),
        json.dumps(whole | {"estimator": "code_carbon"}),
        json.dumps(whole | {"parameters": {"base_w": {"value": 1.0, "unit": "W"}}}),
        json.dumps(whole | {"valid_range": {}}),
        json.dumps(whole | {"parameters": {"base_w": 1}}),
        path.read_text()[:100],
    ):
        path.write_text(broken)
        with pytest.raises(WattproofError, match=r"c\.json is no calibration of wattproof: .+\."):
            transfer.load(path)
    with pytest.raises(
        WattproofError, match=r"none\.json cannot be read: No such file or directory\."
    ):
        transfer.load(tmp_path / "none.json")


def test_other_kinds_of_node_are_refused():
    kept, channels = made(1), energies("pcie8", 1)[1]
    transfer.check_same_type(kept, channels, META)
    with pytest.raises(WattproofError, match="simulated node and this one is real"):
        transfer.check_same_type(kept, channels, Meta("here", simulated=False))
    with pytest.raises(WattproofError, match="same type of node"):
        transfer.check_same_type(kept, energies("workstation", 1)[1], META)
    with pytest.raises(WattproofError, match="two nodes or more"):
        transfer.combine([kept])
    with pytest.raises(WattproofError, match="not of one kind"):
        transfer.combine([kept, made(1, "workstation")])


def test_the_example_of_the_docs(tmp_path, monkeypatch):
    page = Path(__file__).resolve().parents[2] / "docs" / "calibration.md"
    code = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(code) == 1
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WattproofError, match="name the results folder"):
        exec(code[0], {})
    folder = Path("results/node-a")
    channels = energies("pcie8", 1)[1]
    for name, frame, place in (
        ("calibration", calibrated("pcie8", 1).table, "tables"),
        ("channels", channels, "recordings/single-000"),
    ):
        (folder / place).mkdir(parents=True)
        tables.write(frame, name, folder / place / f"{name}.parquet", META)
    exec(code[0], {})
    assert transfer.load("node-a.json") == made(1)
