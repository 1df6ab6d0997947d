"""Drafted manifests load again as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from audit_manifest import flags, values

from wattproof import ingest
from wattproof.ingest import drafting

SMI = "timestamp, power.draw [W]\n2024/05/01 10:00:00.100, 75 W\n2024/05/01 10:00:01.100, 76 W\n"


def _again(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> ingest.Ingested:
    """Draft a manifest of files in a folder, and load it without a change."""
    monkeypatch.chdir(folder)
    paths = []
    for name, content in files.items():
        paths.append(Path(f"{name}.csv"))
        paths[-1].write_text(content)
    (folder / "draft.yaml").write_text(drafting.draft(sorted(paths)))
    manifest = ingest.read_manifest(folder / "draft.yaml")
    assert manifest.origin.startswith("unknown: state who")
    assert manifest.licence.startswith("unknown: state")
    [name] = manifest.sets
    return ingest.load_set(manifest, name)


def test_a_draft_of_a_small_folder_loads(tmp_path, monkeypatch):
    meter = "t,P\n1714557600,75\n1714557601,76\n"
    data = _again(tmp_path, monkeypatch, smi=SMI, meter=meter)
    assert values(data, "gpu0.power") == [75.0, 76.0]
    assert values(data, "node.p") == [75.0, 76.0]
    assert {"inferred_unit", "inferred_time_unit", "inferred_time_zone"} <= flags(data)


@pytest.mark.parametrize("name", ["2024", "_x", "1e5", "null"])
def test_files_with_odd_names_are_drafted(tmp_path, monkeypatch, name):
    assert values(_again(tmp_path, monkeypatch, **{name: SMI}), "gpu0.power") == [75.0, 76.0]


@pytest.mark.parametrize("column", ["t", "ts", "T", "t_ms", "epoch", "Time (s)", "unix"])
def test_columns_of_time_are_recognised(tmp_path, monkeypatch, column):
    data = _again(tmp_path, monkeypatch, log=f"{column};Power [W]\n1714557600;75\n1714557601;76\n")
    assert values(data, "node.ac") == [75.0, 76.0]
    assert "inferred_unit" not in flags(data)


def test_columns_of_unknown_meaning_are_no_power(tmp_path, monkeypatch):
    data = _again(tmp_path, monkeypatch, log="t,fan,name\n1714557600,1200,x\n1714557601,1300,x\n")
    [channel] = data.channels.to_pylist()
    assert (channel["channel"], channel["kind"], channel["unit"]) == ("node.fan", "load", "1")


def test_a_log_without_header_is_drafted(tmp_path, monkeypatch):
    data = _again(tmp_path, monkeypatch, log="1714557600,75\n1714557601,76\n")
    assert values(data, "node.1") == [75.0, 76.0]


def test_spaces_may_separate(tmp_path, monkeypatch):
    data = _again(tmp_path, monkeypatch, log="t  p\n1714557600   75\n1714557601  76\n")
    assert values(data, "node.p") == [75.0, 76.0]
