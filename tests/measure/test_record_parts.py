"""Parts of `wattproof record` that need no process: folders, marks, numbers for people."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from wattproof.doctor import read_settings
from wattproof.errors import WattproofError
from wattproof.measure import inside, text
from wattproof.measure.analysis import _parsed
from wattproof.measure.energies import totals
from wattproof.measure.folder import create
from wattproof.measure.record import _Care
from wattproof.measure.summary import _cost
from wattproof.training.marks import read_marks

NOW = datetime(2026, 11, 25, 16, 0, 0)


def test_two_records_in_one_second_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [create(None, None, NOW)[1] for _ in range(3)]
    assert names == ["20261125-160000", "20261125-160000-2", "20261125-160000-3"]


def test_a_record_is_never_overwritten(tmp_path: Path) -> None:
    folder, name = create(tmp_path / "mine", None, NOW)
    assert name == "mine"
    with pytest.raises(WattproofError, match="never overwritten"):
        create(folder.path, None, NOW)
    odd, name = create(tmp_path / "with space", None, NOW)
    assert (odd.path.name, name) == ("with space", "20261125-160000")


def test_trouble_of_ours_is_told_once_and_does_not_spread() -> None:
    said: list[str] = []

    def fail() -> None:
        raise OSError("no space")

    care = _Care(fail, said.append)
    care()
    care()
    assert said == ["measuring is disturbed, the command is not: OSError: no space"]


def test_marks_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "marks.jsonl"
    monkeypatch.delenv(inside.MARKS, raising=False)
    inside.mark("epoch_begin", epoch=0)  # not measured: nothing happens
    monkeypatch.setenv(inside.MARKS, str(path))
    monkeypatch.setenv(inside.RUN_ID, "mine")
    with pytest.raises(RuntimeError), inside.epoch(3), inside.phase("train", 3):
        raise RuntimeError("diverged")
    kinds = [(m["kind"], m["run_id"], m["name"], m["epoch"]) for m in read_marks(path)]
    assert kinds == [
        ("epoch_begin", "mine", None, 3),
        ("phase_begin", "mine", "train", 3),
        ("phase_end", "mine", "train", 3),
        ("epoch_end", "mine", None, 3),
    ]
    monkeypatch.setenv(inside.MARKS, str(tmp_path / "gone" / "marks.jsonl"))
    inside.mark("epoch_begin", epoch=4)  # cannot be written: the program goes on


GOOD = {"kind": "epoch_begin", "epoch": 0, "mono_ns": 5, "wall_ns": 6}


@pytest.mark.parametrize(
    ("change", "fine"),
    [
        ({}, True),
        ({"val_accuracy": 0.5, "val_loss": None}, True),
        ({"mono_ns": 5.0}, False),
        ({"mono_ns": None}, False),
        ({"kind": 7}, False),
        ({"epoch": "one"}, False),
        ({"val_accuracy": "high"}, False),
    ],
)
def test_what_counts_as_a_mark(change: dict[str, Any], fine: bool) -> None:
    assert (_parsed(json.dumps({**GOOD, **change}).encode()) is not None) is fine


def test_no_mark_is_no_mark() -> None:
    for line in (b"", b"[]", b"7", b'{"kind": "epoch_begin"', b"\xff\xfe"):
        assert _parsed(line) is None


def energy(channel: str, energy_j: float | None, **more: Any) -> dict[str, Any]:
    item = {
        "channel": channel,
        "main": True,
        "estimate": False,
        "energy_j": energy_j,
        "energy_wh": None if energy_j is None else energy_j / 3600,
        "mean_w": energy_j,
        "above_idle_j": None,
        "u90_j": 1.0,
        "above_idle_u90_j": None,
        "coverage": 1.0,
    }
    return {**item, **more}


def test_four_gpus_are_summed_not_averaged() -> None:
    """F7: four GPUs of 300 J are 1200 J; one that is unknown makes the sum unknown."""
    four = [energy(f"gpu{i}.energy", 300.0) for i in range(4)]
    (total,) = totals(four)
    assert total["energy_j"] == 1200.0
    assert total["u90_j"] == 4.0
    (total,) = totals([*four, energy("gpu4.energy", None, coverage=0.2)])
    assert total["energy_j"] is None
    assert total["coverage"] == 0.2


def test_parts_and_wholes_are_never_added() -> None:
    found = totals(
        [
            energy("gpu0.energy", 300.0),
            energy("gpu0.power_module", 500.0),
            energy("cpu0.package", 200.0),
            energy("cpu0.dram", 60.0),
            energy("node.ac", 900.0),
            energy("codecarbon.node", 800.0, estimate=True),
        ]
    )
    assert [(t["what"], t["energy_j"]) for t in found] == [("CPUs and memory", 260.0)]


def test_a_source_that_never_came_up_cost_nothing_while_measuring() -> None:
    up = {"cpu_s": 0.5, "cpu_start_s": 0.2, "duration_s": 10.0}
    never = {"cpu_s": 0.18, "cpu_start_s": None, "duration_s": None}
    cost = _cost([up, never, never], {"ended": {"own_cpu_s": 0.1}})
    assert cost["cpu_s"] == pytest.approx(0.4)
    assert cost["cpu_start_s"] == pytest.approx(0.56)
    assert cost["share_of_a_core"] == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "unknown"),
        (float("nan"), "unknown"),
        (0.0, "0"),
        (1234567.8, "1 234 568"),
        (1189.04, "1 189"),
        (0.0012346, "0.001235"),
        (-12.345, "-12.35"),
    ],
)
def test_numbers_for_people(value: float | None, words: str) -> None:
    assert text.number(value) == words


def test_settings_of_the_command_line_and_of_a_file(tmp_path: Path) -> None:
    assert list(read_settings(None).sources) in (["nvml", "rapl", "host"], ["smi", "rapl", "host"])
    assert read_settings(None).on_missing == "continue"
    assert read_settings(None, ["smi"]).sources["smi"]["mode"] == "loop"
    with pytest.raises(WattproofError, match="needs to know your meter"):
        read_settings(None, ["meter"])
    path = tmp_path / "mine.yaml"
    path.write_text(
        "campaign: mine\nsources: {nvml: {period_s: 0.02}, host: {}}\n"
        "analysis: {max_gap_s: 1.5}\non_missing_source: continue\n",
        encoding="utf-8",
    )
    told = read_settings(path)
    assert told.sources["nvml"]["period_s"] == 0.02
    assert told.analysis["max_gap_s"] == 1.5
    assert told.on_missing == "continue"
    # --sources chooses from the file, and may add what needs no settings.
    chosen = read_settings(path, ["nvml", "rapl"])
    assert list(chosen.sources) == ["nvml", "rapl"]
    assert chosen.sources["nvml"]["period_s"] == 0.02
