"""Whole offline recordings: same bytes, energy conserved, all settings, truth for `verify`."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wattproof import clocks, config, energy, offline, plan, preflight, tables
from wattproof.errors import WattproofError
from wattproof.offline import Training
from wattproof.offline.programme import rows_of
from wattproof.offline.record import plain_makers
from wattproof.offline.staging import stage
from wattproof.virtual import presets, truth
from wattproof.virtual.load import Load

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = config.load_schema(ROOT / "config" / "schema" / "campaign.schema.json")

CAMPAIGN = {
    "campaign": "off",
    "node": {"kind": "virtual", "preset": "paper", "mode": "offline"},
    "plan": {"runs": 3, "runs_per_recording": 3, "seed": 5},
    "training": {"dataset": "tiny_imagenet", "image_size": 64, "train_images": 20_000},
    "calibration": {"idle_s": 5, "load_s": 5, "repeats": 1},
    "sources": {
        "nvml": {"period_s": 0.1},
        "smi": {},
        "rapl": {},
        "host": {},
        "meter": {"driver": "lmg450", "range_v": 250, "range_a": 20},
    },
}


@pytest.fixture(scope="module")
def campaign():
    complete = config.validate(CAMPAIGN, SCHEMA, "test")
    return preflight.check(complete, "test")


@pytest.fixture(scope="module")
def planned(campaign):
    return plan.by_recording(plan.make_plan(campaign))


def test_equal_seeds_give_equal_bytes_wherever_the_results_lie(campaign, planned, tmp_path):
    for place in ("a", "b"):
        rows = planned["single-000"]
        sealed, about = offline.record("single-000", rows, campaign, tmp_path / place / "truth")
        meta = tables.Meta("off", **about)
        for name, table in sealed.items():
            tables.write(table, name, tmp_path / place / f"{name}.parquet", meta)
    for name in ("samples", "channels", "health", "marks", "runs"):
        a, b = ((tmp_path / p / f"{name}.parquet").read_bytes() for p in "ab")
        assert a == b, name
    log = "truth/session-000/activity.bin"
    assert (tmp_path / "a" / log).read_bytes() == (tmp_path / "b" / log).read_bytes()


def test_another_seed_or_recording_is_another_stretch_of_life(campaign, planned, tmp_path):
    rows = planned["single-000"]
    other = {**campaign, "node": {**campaign["node"], "seed": 8}}
    first, _ = offline.record("single-000", rows, campaign, tmp_path / "a")
    second, _ = offline.record("single-000", rows, other, tmp_path / "b")
    third, _ = offline.record("single-009", rows, campaign, tmp_path / "c")
    uuids = [set(made["channels"]["device"].to_pylist()) for made in (first, second, third)]
    assert uuids[0] == uuids[2] != uuids[1]  # the same boards, other boards
    first_ns = [made["samples"]["start_ns"][0].as_py() for made in (first, second, third)]
    assert len(set(first_ns)) == 3


def test_the_tables_are_marked_and_complete(campaign, planned, tmp_path):
    sealed, about = offline.record("single-000", planned["single-000"], campaign, tmp_path)
    assert about["simulated"]
    assert "SIMULATED" in about["host"]
    assert set(sealed["channels"]["simulated"].to_pylist()) == {True}
    runs = sealed["runs"].to_pandas()
    assert sorted(runs.run_id) == sorted(row.run_id for row in planned["single-000"])
    assert runs.status.eq("ok").all()
    trained = runs[runs.setting == "single"]
    assert trained.test_accuracy.between(0.005, 1).all()
    assert (trained.macs > 0).all()
    marks = sealed["marks"].to_pandas()
    assert (marks.wall_ns - marks.mono_ns).nunique() == 1
    epochs = marks[marks.kind == "epoch_end"]
    assert epochs.val_accuracy.notna().all()
    assert len(epochs) == trained.epochs.sum()
    windows = energy.cut_windows(sealed["marks"], sealed["runs"])
    assert set(windows.level) == {"run", "epoch", "phase", "load"}
    health = sealed["health"].to_pandas()
    assert health.outcome.eq("ok").all()
    assert health.failed.eq(0).all()
    assert health.cpu_s.isna().all()  # there was no process: unknown, not zero


def test_truth_lies_where_verify_looks(campaign, planned, tmp_path):
    sealed, _ = offline.record("single-000", planned["single-000"], campaign, tmp_path)
    known = truth.load(tmp_path / "session-000")
    assert json.loads((tmp_path / "session-000" / "node.json").read_text())["simulated"]
    run = sealed["runs"].to_pandas().query("setting == 'single'").run_id.iloc[0]
    marks = sealed["marks"].to_pandas()
    marks = marks[marks.run_id == run].set_index("kind").mono_ns
    span = marks["run_begin"], marks["run_end"]
    seconds = (span[1] - span[0]) / 1e9
    assert 75 < known.energy_j("gpu0", *span) / seconds < 800
    assert known.energy_j("gpu3", *span) == pytest.approx(75 * seconds)


def test_energy_is_conserved_within_what_each_instrument_states():
    """Truth of a window against every instrument, each within its own limits of error."""
    load = Load(0.2, 0.2, 0.2, 0.3)
    programme = [("sync", 6.0), ("idle", 20.0), Training(3, 12.0, load), ("sync", 6.0)]
    settings = {
        "max_gap_s": 2.0, "min_coverage": 0.8, "min_confidence": 0.3, "min_samples": 10,
        "alpha": 0.05, "off_socket": "load", "sensors": None,
    }  # fmt: skip
    for seed in (1, 2):
        made = offline.simulate("paper", programme, seed=seed)
        frames = {name: made.frame(name) for name in made.tables}
        aligned = clocks.align(frames["samples"], frames["channels"], frames["marks"], settings)
        assert aligned.accepted.all()
        windows = energy.cut_windows(frames["marks"], frames["runs"])
        found = energy.integrate(frames["samples"], frames["channels"], aligned, windows, settings)
        run = windows[windows.level == "run"].iloc[0]
        own = found[found.window_id == run.window_id].set_index(["source", "channel"]).energy_j
        seconds = (run.end_ns - run.start_ns) / 1e9

        def true(channel, run=run, made=made):
            return float(made.truth.energy_j(channel, run.start_ns, run.end_ns))

        node = true("node.ac")
        limit_j = 0.0007 * node + 0.0004 * 5000 * seconds
        assert own["meter", "node.ac"] == pytest.approx(node, abs=limit_j + 0.001 * node)
        for channel in ("cpu0.package", "cpu0.dram"):
            assert own["rapl", channel] == pytest.approx(true(channel), rel=0.005)
        for slot in range(4):
            board = made.scene.spec.boards[slot]
            shown = board.gain * true(f"gpu{slot}") + board.offset_w * seconds
            for what in ("energy", "power_samples"):
                assert own["nvml", f"gpu{slot}.{what}"] == pytest.approx(shown, rel=0.005)
            # It sees 25 ms of each 100 ms: enough for levels that last.
            assert own["nvml", f"gpu{slot}.power_instant"] == pytest.approx(shown, rel=0.02)
        parts = sum(true(f"gpu{slot}") for slot in range(4))
        parts += true("cpu0.package") + true("cpu0.dram") + true("off_socket")
        assert parts == pytest.approx(node, rel=1e-9)


def packed(rows):
    return [dataclasses.replace(row, setting="packed") for row in rows]


def test_packed_runs_stand_side_by_side_on_the_slots():
    parameters = presets.get("paper")
    works = [Training(epochs, 5.0) for epochs in (3, 1, 2, 1, 1, 1)]
    rows = rows_of([("idle", 2.0)], 0, "r") + packed(rows_of(works, 0, "p"))
    rows += rows_of([("prime", 2.0)], 0, "z")
    staged = stage(rows, parameters, 10**15, (1,), plain_makers())
    spans = {}
    for mark in staged.marks:
        spans.setdefault((mark["run_id"], mark["slot"]), []).append(mark["mono_ns"])
    spans = {key: (min(at), max(at)) for key, at in spans.items()}
    slots = {run: slot for run, slot in spans}
    # Four at once; the fifth takes the slot that is free first, the sixth the next.
    assert [slots[f"p-0{i}-train"] for i in range(6)] == [0, 1, 2, 3, 1, 3]
    for (run, slot), (begin, end) in spans.items():
        for (other, its), (start, stop) in spans.items():
            if run < other and slot == its:
                assert end <= start or stop <= begin, (run, other)
    last = max(end for (run, _), (_, end) in spans.items() if run.startswith("p"))
    assert spans["z-00-prime", 0][0] >= last  # the load has the node to itself
    assert {result["run_id"]: result["slot"] for result in staged.results} == slots
    busy = staged.activity[staged.activity["gpu_compute"] > 0]
    assert set(busy["slot"].tolist()) == {0, 1, 2, 3}
    assert (np.diff(staged.activity["mono_ns"]) >= 0).all()


def test_a_distributed_run_fills_all_gpus_and_has_no_slot(campaign, planned, tmp_path):
    rows = [
        dataclasses.replace(row, setting="ddp") if row.config else row
        for row in planned["single-000"]
    ]
    sealed, _ = offline.record("ddp-000", rows, campaign, tmp_path)
    runs = sealed["runs"].to_pandas()
    assert runs[runs.setting == "ddp"].slot.isna().all()
    windows = energy.cut_windows(sealed["marks"], sealed["runs"])
    run = windows[(windows.level == "run")].iloc[0]
    assert run.slot is pd.NA
    known = truth.load(tmp_path / "session-000")
    energies = [known.energy_j(f"gpu{slot}", run.start_ns, run.end_ns) for slot in range(4)]
    seconds = (run.end_ns - run.start_ns) / 1e9
    assert energies[1:] == pytest.approx([energies[0]] * 3)
    assert energies[0] > 1.05 * 75 * seconds
    # The host feeds the run once, not once for each GPU.
    single, _ = offline.record("single-000", planned["single-000"], campaign, tmp_path / "s")
    alone = truth.load(tmp_path / "s" / "session-000")
    own = energy.cut_windows(single["marks"], single["runs"]).query("level == 'run'").iloc[0]
    package = [
        float(node.energy_j("cpu0.package", w.start_ns, w.end_ns)) / (w.end_ns - w.start_ns)
        for node, w in ((known, run), (alone, own))
    ]
    assert package[0] < 1.1 * package[1]


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ({"codecarbon": {}}, "virtual node has none of"),
        ({"meter": {"driver": "shelly", "host": "x"}}, "lmg450"),
        ({"meter": {"driver": "lmg450", "channels": [1, 2]}}, "one channel"),
        ({"meter": {"driver": "lmg450", "cycle_s": 100}}, "refuses a setting"),
        ({"smi": {"mode": "fork"}}, "spawn"),
    ],
)
def test_what_the_virtual_node_has_not_is_one_sentence(sources, words):
    with pytest.raises(WattproofError, match=words) as caught:
        offline.simulate("paper", [("idle", 1.0)], sources)
    assert "\n" not in str(caught.value)


def test_a_data_set_without_a_model_is_refused_before_anything_runs():
    raw = {**CAMPAIGN, "training": {"dataset": "imagenet22k"}}
    with pytest.raises(WattproofError, match="imagenet22k"):
        preflight.check(config.validate(raw, SCHEMA, "test"), "test")


def test_nothing_at_all_is_still_a_recording():
    made = offline.simulate("laptop", [])
    assert made.tables["samples"].num_rows > 0
    assert made.tables["marks"].num_rows == made.tables["runs"].num_rows == 0
