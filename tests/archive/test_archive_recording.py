"""A whole recording whose meter is archived by another process, and what the documents say."""

import configparser
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
import yaml
from archive_bench import CYCLE_S, metered, stamp_index
from archive_bench import rows as rows_of

from wattproof import preflight
from wattproof.config import load_schema, validate
from wattproof.errors import WattproofError
from wattproof.plan import PlanRow
from wattproof.session import Paths, record, seal
from wattproof.sources import create, meters, real_endpoints

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "meters" / "archive.md").read_text(encoding="utf-8")
IDLE_S = 2.0


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found
    return found.group(1)


def idle_row() -> PlanRow:
    run_id = "calibration-000-00-idle-00000000"
    spec = {
        "kind": "load",
        "setting": "calibration",
        "load": "idle",
        "seconds": IDLE_S,
        "seed": 0,
        "training": {},
        "run_id": run_id,
    }
    return PlanRow(run_id, "calibration", "calibration-000", 0, None, 0, spec, "", {})


def test_recording_takes_its_slice_and_needs_the_archive_no_more(tmp_path: Path) -> None:
    rows, paths = [idle_row()], Paths(tmp_path / "raw", tmp_path / "truth")
    told: list[str] = []
    with metered(tmp_path, "--rotate", "2s") as (device, meter):
        meter.has_rows(5)
        config: dict[str, Any] = {
            "campaign": "c",
            "node": {"kind": "real"},
            "on_missing_source": "stop",
            "sources": {
                "host": {"period_s": 0.2},
                "meter": {
                    "driver": "archive",
                    "folder": str(meter.archive),
                    "margin_s": 1.0,
                    "wait_s": 20.0,
                    "offset_s": 0.0,
                },
            },
        }
        record("calibration-000", rows, config, paths, told.append)
        assert meter.stop() == 0
        everything = {row["device_ns"]: row for row in rows_of(meter.archive)}
    (session,) = paths.sessions()
    assert sorted(p.name for p in (session / "streams").glob("*.spec")) == ["host.spec"]
    sealed, about = seal("calibration-000", rows, paths)
    mine = sealed["samples"].filter(pc.equal(sealed["samples"]["source"], "meter"))
    marks = {mark["kind"]: mark["mono_ns"] for mark in sealed["marks"].to_pylist()}
    inside = mine.filter(
        pc.and_(
            pc.greater_equal(mine["end_ns"], marks["load_begin"]),
            pc.less(mine["end_ns"], marks["load_end"]),
        )
    )
    assert inside.num_rows == pytest.approx(IDLE_S / CYCLE_S, abs=3)
    got = mine.to_pylist()
    for row in got:  # the very readings of the archive, stamps of the meter included
        original = everything[row["device_ns"]]
        assert (row["value"], row["status"]) == (original["value"], original["status"])
        assert row["end_ns"] == original["end_ns"]  # one machine, one boot: exact
    cycles = [stamp_index(device, row["device_ns"]) for row in got]
    assert cycles == list(range(cycles[0], cycles[0] + len(cycles)))
    truth = {cycle.index: cycle.watts for cycle in device.cycles}
    assert [row["value"] for row in got] == pytest.approx([truth[c] for c in cycles])
    channel = next(c for c in sealed["channels"].to_pylist() if c["source"] == "meter")
    assert json.loads(channel["identity"])["serial"] == "SIM-42"
    assert about["instruments"]["meter"]["SIM-42"]["serial"] == "SIM-42"
    health = {row["source"]: row for row in sealed["health"].to_pylist()}
    assert health["meter"]["outcome"] == "ok"
    assert health["meter"]["missed"] == 0
    assert any("readings of the meter come from the archive" in line for line in told)

    shutil.rmtree(meter.archive)
    record("calibration-000", rows, config, paths, told.append)
    again, _ = seal("calibration-000", rows, paths)
    assert again["samples"].equals(sealed["samples"])


def test_campaign_excerpt_of_the_document_is_complete_and_valid() -> None:
    written = yaml.safe_load(block("yaml"))["sources"]["meter"]
    complete = validate(written, meters.settings_schema("archive"), "archive.md", "sources.meter")
    assert complete == written  # every key is shown, with its default
    assert set(complete) == set(meters.settings_schema("archive")["properties"])
    schema = load_schema(ROOT / "config" / "schema" / "campaign.schema.json")
    campaign = {"campaign": "x", "node": {"kind": "real"}, "sources": {"meter": written}}
    checked = preflight.check(validate(campaign, schema, "c.yaml"), "c.yaml")
    assert checked["sources"]["meter"] == written
    del written["folder"]
    with pytest.raises(WattproofError, match=r"key 'sources\.meter\.folder' is missing"):
        validate(written, meters.settings_schema("archive"), "c.yaml", "sources.meter")


def test_options_of_the_document_exist() -> None:
    command = [sys.executable, "-c", "from wattproof.cli import main; main()", "meter", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    documented = set(re.findall(r"(--[a-z]+(?:-[a-z]+)*)", DOCUMENT)) - {"--now"}
    assert documented == set(re.findall(r"(--[a-z]+(?:-[a-z]+)*)", told)) - {"--help"}


def test_service_of_the_document_is_a_command_of_ours() -> None:
    from wattproof.archive import duration
    from wattproof.cli.meter import _settings

    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(block("ini"))
    words = shlex.split(unit["Service"]["ExecStart"])
    assert words[1] == "meter"
    options = dict(itertools.pairwise(words))
    pairs = [word for word in words[2:] if "=" in word and not word.startswith("-")]
    complete = _settings(options["--driver"], options["--port"], pairs, None)
    assert complete["cycle_s"] == 0.1
    assert duration.parse(options["--keep"], "--keep") == 90 * 86_400
    assert duration.parse(options["--status-every"], "--status-every") == 600


def test_the_driver_cannot_be_read_live() -> None:
    with pytest.raises(WattproofError, match="cannot be read live"):
        create("meter", {"driver": "archive", "folder": "/mnt/meter"}, real_endpoints())
