"""The reader of MLPerf Training sets, on small sets written by the test."""

import json
import shutil

import mlperf_synthetic as synthetic
import pyarrow.compute as pc
import pytest
from mlperf_synthetic import T0_MS, line, power_log, write_set

from wattproof import ingest, tables
from wattproof.errors import WattproofError
from wattproof.ingest import mlperf_training, published

MS = 1_000_000
RUNS = [
    ("r1", 6.0, 1000, "success"),
    ("r2", 4.0, 2000, "success"),
    ("r3", 5.0, 500, "success"),
    ("r4", 7.0, 4000, "success"),
]


@pytest.fixture
def small(tmp_path):
    return write_set(tmp_path / "set", RUNS, factor=1.25, channels=("ac", "dc"), published="4.50")


def log_of(root, run="r1", channel="ac"):
    return root / "resnet" / channel / run / "node_0.txt"


def test_tables_of_a_small_set(small):
    data = mlperf_training.ingest(small)
    assert data.notes == ()
    assert data.about()["simulated"] is False
    assert {n: t.num_rows for n, t in data.tables().items() if t.num_rows} == {
        "samples": 4 * 2 * 5,
        "channels": 8,
        "marks": 8,
        "runs": 4,
        "windows": 4,
    }
    first = data.samples.slice(0, 1).to_pylist()[0]
    instant = (T0_MS + 2000) * MS
    assert first == {
        "recording": "resnet-r1",
        "session": 0,
        "source": "meter",
        "channel": "node.ac",
        "scheduled_ns": None,
        "start_ns": instant,
        "end_ns": instant,
        "wall_ns": instant,
        "device_ns": None,
        "value": 100.0,
        "status": "ok",
    }
    channel = data.channels.slice(0, 1).to_pylist()[0]
    assert (channel["unit"], channel["kind"], channel["clock"]) == ("W", "power", "host")
    assert channel["period_s"] == 2.0
    assert channel["simulated"] is False
    assert channel["accuracy_reading"] is None
    identity = json.loads(channel["identity"])
    assert "inferred" in identity["period_s"]
    assert "unknown" in identity["averaging_s"]
    assert identity["file"] == "resnet/ac/r1/node_0.txt"
    run = data.runs.slice(0, 1).to_pylist()[0]
    assert (run["duration_s"], run["epochs"], run["val_accuracy"]) == (6.0, 35, 0.75)
    window = data.windows.slice(0, 1).to_pylist()[0]
    assert (window["start_ns"], window["end_ns"]) == (instant, instant + 6000 * MS)
    assert "wall clock" in data.about()["extra"]["clock"].lower()


def test_the_metadata_survive_writing(small, tmp_path):
    data = mlperf_training.ingest(small)
    meta = tables.Meta("c", **data.about())
    for name, table in data.tables().items():
        tables.write(table, name, tmp_path / name, meta)
        assert tables.read(tmp_path / name, name).equals(table)
        assert tables.read_meta(tmp_path / name) == meta


def test_published_energies_by_hand(small):
    frame = published.compare(small)
    assert frame.attrs["refused"] == [
        "resnet DC: no published energy to compare."  # the set publishes AC only
    ]
    ac, dc = frame.to_dict("records")
    # r2 (4 s) and r4 (7 s) go. Mean of the whole log: (2·100 + 8·W)/10 = 20 + 0.8 W.
    by_rule = 1.25 * (820 * 6 + 420 * 5) / 2
    assert ac["runs"] == 2
    assert ac["recomputed_j"] == pytest.approx(by_rule, rel=1e-12)
    assert ac["published_j"] == 4500.0
    assert ac["relative_difference"] == pytest.approx((4500 - by_rule) / 4500)
    # In the window, from 2 s on: a ramp of 2 s from 100 W to W, then W.
    integral = 1.25 * ((1100 + 4 * 1000) + (600 + 3 * 500)) / 2
    assert ac["integrated_j"] == pytest.approx(integral, rel=1e-12)
    assert dc["recomputed_j"] == pytest.approx(0.9 * by_rule, rel=1e-12)
    assert dc["published_j"] != dc["published_j"]  # null
    assert tables.conform(frame, "published").num_rows == 2


def test_a_failed_run_is_kept_as_failed_and_counts_as_slowest(tmp_path):
    runs = [*RUNS[:3], ("r4", 3.0, 4000, "aborted")]
    root = write_set(tmp_path / "set", runs)
    data = mlperf_training.ingest(root)
    assert data.windows["run_id"].to_pylist() == ["resnet-r1", "resnet-r2", "resnet-r3"]
    row = data.runs.to_pylist()[3]
    assert (row["status"], "aborted" in row["reason"]) == ("failed", True)
    ac = published.compare(root).iloc[0]
    # Of the good ones only the fastest, r2, goes.
    assert ac["recomputed_j"] == pytest.approx((820 * 6 + 420 * 5) / 2)


def test_too_few_runs_are_null_with_a_reason(tmp_path):
    frame = published.compare(write_set(tmp_path / "set", RUNS[:2]))
    assert frame["recomputed_j"].isna().all()
    assert frame["runs"].tolist() == [0]
    assert "too few" in frame.attrs["refused"][0]


def test_a_log_that_misses_half_the_run_is_not_integrated(small):
    log_of(small).write_text(power_log([(2000, 5), (2500, 5)]))
    log_of(small, "r3").write_text(power_log([(-9000, 5), (-8000, 5)], start_ms=T0_MS - 10_000))
    frame = published.compare(small)
    assert frame["integrated_j"].isna().tolist() == [True, False]
    assert "covers too little" in frame.attrs["refused"][0]


def test_bad_readings_become_rows_with_a_status_and_malformed_lines_are_counted(small):
    text = power_log(
        [(2000, 100), (4000, None), (6000, "abc"), (8000, float("nan")), (10_000, True)],
        extra=[
            f':::MLLOG {{"time_ms": {T0_MS + 12_000}, "key": "power_reading", "va',
            f':::MLLOG {{"time_ms": {T0_MS + 13_000}, "key": "power_measurement_st',
            ':::MLLOG {"key": "power_rea',
            f':::MLLOG {{"time_ms": {T0_MS + 14_000}, "key": "other", "val',
            "some other program",
            line(T0_MS + 16_000, "power_reading", 300.5),
            line(T0_MS + 15_000, "power_reading", 0),
        ],
    )
    log_of(small).write_text(text)
    data = mlperf_training.ingest(small)
    mask = pc.and_(
        pc.equal(data.samples["recording"], "resnet-r1"),
        pc.equal(data.samples["channel"], "node.ac"),
    )
    rows = data.samples.filter(mask).select(["wall_ns", "value", "status"]).to_pylist()
    assert [((r["wall_ns"] // MS - T0_MS) // 1000, r["value"], r["status"]) for r in rows] == [
        (2, 100.0, "ok"),
        (4, None, "missing"),
        (6, None, "not_a_number"),
        (8, None, "not_a_number"),
        (10, None, "not_a_number"),
        (12, None, "garbled"),
        (13, None, "garbled"),
        (15, 0.0, "ok"),
        (16, 300.5, "ok"),
    ]
    assert sorted(note.partition(": ")[2] for note in data.notes) == [
        "1 reading(s) out of order were sorted by time.",
        "2 malformed line(s) without a usable time were left out.",
        "6 of 9 readings failed.",
    ]
    assert all(note.startswith("resnet/ac/r1/node_0.txt: ") for note in data.notes)


def test_a_log_of_failed_readings_has_no_period_and_no_energy(small):
    log_of(small).write_text(power_log([(2000, None), (4000, None)]))
    data = mlperf_training.ingest(small)
    assert data.channels.to_pylist()[0]["period_s"] is None
    frame = published.compare(small)
    assert frame["recomputed_j"].isna().tolist() == [True, False]
    assert str(log_of(small)) in frame.attrs["refused"][0]


def test_logs_without_the_begin_mark_or_with_an_efficiency(tmp_path):
    root = write_set(tmp_path / "set", RUNS[:3])
    kept = log_of(root, "r3")
    efficiency = line(T0_MS, "conversion_eff", 0.5)
    kept.write_text(power_log(synthetic.steady(500), start_ms=None, extra=[efficiency]))
    data = mlperf_training.ingest(root)
    assert "0 marks power_measurement_start" in data.notes[0]
    # Only r3 counts; without the mark the first reading sets the clock: 500 W all along.
    assert published.compare(root).iloc[0]["recomputed_j"] == pytest.approx(0.5 * 500 * 5)


def test_the_event_log_gives_the_window(small):
    events = small / "resnet" / "events"
    events.mkdir()
    (events / "r1.txt").write_text(
        f"0: {line(T0_MS + 3000, 'run_start', None)}\nnoise\n"
        f"0: {line(T0_MS + 7000, 'run_stop', None)}\n"
    )
    (events / "r2.txt").write_text(f"{line(T0_MS + 3000, 'run_start', None)}\n:::MLLOG {{\n")
    data = mlperf_training.ingest(small)
    begin, end = (m["mono_ns"] for m in data.marks.to_pylist()[:2])
    assert (begin, end) == ((T0_MS + 3000) * MS, (T0_MS + 7000) * MS)
    assert data.marks.to_pylist()[2]["mono_ns"] == (T0_MS + 2000) * MS
    assert [note.partition(": ")[2] for note in data.notes] == [
        "its run window differs from runs.csv; the log's is used.",
        "1 malformed line(s) were left out.",
        "no run_start or no run_stop; the window of runs.csv is used.",
    ]


def test_logs_that_runs_csv_does_not_name_are_reported(small):
    shutil.copytree(log_of(small).parent, small / "resnet" / "ac" / "r1_raw")
    data = mlperf_training.ingest(small)
    assert data.runs.num_rows == 4
    assert data.notes == ("resnet/ac: 1 entry without a row in runs.csv not read: r1_raw.",)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def csv_edit(old, new):
    return lambda root: edit(root / "runs.csv", old, new)


BROKEN = {
    "no runs.csv": (lambda root: (root / "runs.csv").unlink(), "runs.csv cannot be read"),
    "no column": (csv_edit("run_stop_ms", "stop"), r"lacks the column\(s\) run_stop_ms"),
    "no rows": (
        lambda root: (root / "runs.csv").write_text(synthetic.HEADER + "\n"),
        "names no run",
    ),
    "not text": (lambda root: (root / "runs.csv").write_bytes(b"\xff\xfe\x00"), "not a readable"),
    "bad time": (csv_edit(str(T0_MS + 2000), "soon"), "line 2: column 'run_start_ms' is 'soon'"),
    "bad number": (csv_edit(",6.0,", ",inf,"), "line 2: column 'time_to_train_s' is 'inf'"),
    "cut row": (csv_edit("1xNode,resnet,r4", "\n1xNode,resnet,r4\n"), "line 5"),
    "path as name": (csv_edit(",r1,", ",../r1,"), "cannot be the name of a folder"),
    "twice": (csv_edit(",r2,", ",r1,"), "is there twice"),
    "backward": (csv_edit(str(T0_MS + 8000), str(T0_MS + 1000)), "ends before it begins"),
    "switch": (csv_edit("35,\n", "35,120\n"), "switch estimate"),
    "factor": (csv_edit(",1.25,", ",1.5,"), r"is 1\.5, but 1\.25 by"),
    "scaling.json": (
        lambda root: (root / "resnet" / "scaling.json").write_text("{}"),
        "no positive 'scaling_factor'",
    ),
    "scaling.json cut": (
        lambda root: (root / "resnet" / "scaling.json").write_text("{"),
        "not readable as JSON",
    ),
    "no log": (lambda root: log_of(root).unlink(), "holds no power log"),
    "no run folder": (lambda root: shutil.rmtree(log_of(root, "r3").parent), "holds no power log"),
    "empty log": (lambda root: log_of(root).write_text(""), "is not an MLPerf log"),
    "no readings": (lambda root: log_of(root).write_text(power_log([])), "holds no power reading"),
    "efficiency": (
        lambda root: edit(log_of(root), "\n", "\n" + line(T0_MS, "conversion_eff", "x") + "\n"),
        "not a positive number",
    ),
    "two nodes": (
        lambda root: shutil.copy(log_of(root), log_of(root).with_name("node_1.txt")),
        "several nodes",
    ),
    "no registers": (
        lambda root: [shutil.rmtree(root / "resnet" / c) for c in ("ac", "dc")],
        "neither 'ac' nor 'dc'",
    ),
    "system": (lambda root: (root / "system.json").write_text("[]"), "must hold a JSON object"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_sets_are_refused_in_one_sentence(small, case):
    spoil, sentence = BROKEN[case]
    spoil(small)
    with pytest.raises(WattproofError, match=sentence) as caught:
        mlperf_training.ingest(small)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("Units", "Einheit", "lacks the column 'Units'"),
        ("X-AC-Power,resnet,kJ", "X-Power,resnet,kJ", "names neither AC nor DC"),
        ('"4.50"', "much", "is not a number of kJ"),
        ('"4.50"', '"4.50"\n1,X-AC-Power,resnet,kJ,5', "a second AC energy"),
    ],
)
def test_a_broken_published_file_is_refused(small, old, new, sentence):
    edit(small / "published.csv", old, new)
    with pytest.raises(WattproofError, match=sentence):
        published.compare(small)


def test_thousands_separators_and_missing_published_file(small):
    edit(small / "published.csv", '"4.50"', '"1,234.5"')
    path = small / "published.csv"
    assert published.read_published_j(path) == {("resnet", "ac"): 1_234_500.0}
    path.unlink()
    with pytest.raises(WattproofError, match=r"published\.csv cannot be read"):
        published.compare(small)


def test_an_unknown_reader_is_refused():
    with pytest.raises(WattproofError, match="Did you mean 'mlperf_training'"):
        ingest.reader("mlperf_trainin")
    assert "mlperf_training" in ingest.names()
