"""What is printed in docs/ingest.md works as it stands."""

import os
import re
import types
from pathlib import Path

import pytest
import yaml

from wattproof import ingest as room
from wattproof.errors import WattproofError
from wattproof.ingest import Ingested, Log, manifest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "ingest.md"
DATA = Path(os.environ.get("WATTPROOF_REAL_DATA", ROOT.parent / "shared" / "data"))


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def reader():
    module = types.ModuleType("yourformat")
    exec(next(block for block in blocks("python") if "def read" in block), module.__dict__)
    return module


def test_the_example_reader(reader, tmp_path):
    path = tmp_path / "power.csv"
    path.write_text("time_ms,watts\n1000,5.5\n2000,\n")
    log = Log("r", path, "power.csv", {"channel": "node.dc"}, "node", main=True)
    data = reader.read(log)
    assert isinstance(data, Ingested)
    rows = data.samples.select(["channel", "start_ns", "value", "status"]).to_pylist()
    assert rows == [
        {"channel": "node.dc", "start_ns": 1_000_000_000, "value": 5.5, "status": "ok"},
        {"channel": "node.dc", "start_ns": 2_000_000_000, "value": None, "status": "missing"},
    ]
    assert data.windows.num_rows == 0
    assert reader.sniff(path, path.read_bytes()) == 1.0
    path.write_text("a,b\n1,2\n")
    with pytest.raises(WattproofError, match="no rows with time_ms"):
        reader.read(log)


def test_the_example_manifest(tmp_path):
    for name in ("smi.csv", "spl.txt"):
        (tmp_path / name).write_text("x")
    document = yaml.safe_load(blocks("yaml")[0])
    found = manifest.parse(document, tmp_path / "my-audit.yaml")
    assert [form for form, _ in found.sets["run-17"].logs] == ["nvidia_smi", "ptdaemon"]


def test_every_format_is_on_the_page_with_settings_that_it_has():
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", PAGE.read_text(), re.MULTILINE)
    assert sorted(name for name, _ in rows) == room.names()
    for name, cells in rows:
        named = {word.partition(":")[0] for word in re.findall(r"`([\w: ]+)`", cells)}
        assert named <= set(room.reader(name).SETTINGS["properties"])


@pytest.mark.data
@pytest.mark.skipif(
    not DATA.is_dir() and not os.environ.get("WATTPROOF_REQUIRE_REAL_DATA"),
    reason=f"{DATA} is absent",
)
def test_the_example_in_python(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    exec(next(block for block in blocks("python") if "read_manifest" in block), {})
    printed = capsys.readouterr().out
    assert "2361.509 W, published 2361.509 W" in printed
