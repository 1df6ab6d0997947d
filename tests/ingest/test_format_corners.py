"""Corners of the named formats: versions, cut and damaged files, marks, several hosts."""

from __future__ import annotations

import json
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from audit_manifest import flags, load, one_log, stamps, values
from mlperf_power_run import T0, S, power_run

from wattproof import ingest, quality
from wattproof.errors import WattproofError

SPL = "".join(
    f"Time,02-12-2022 08:{19 + (18 + i) // 60:02d}:{(18 + i) % 60:02d}.048,Watts,{100 + i}.5,"
    f"Volts,230.1,Amps,0.5,PF,0.9,Mark,{mark},Ch1,Watts,{60 + i}.25,Volts,230.1,Ch2,Watts,"
    f"{40 + i}.25,Volts,230.1\n"
    for i, mark in enumerate(["notset"] * 3 + ["run_a"] * 5 + ["notset"] * 2 + ["run_b"] * 4)
)
PERF = "# started on Wed May  1 10:00:00 2024\n\n" + "".join(
    f"     {i}.000100000              12.50 Joules power/energy-pkg/\n" for i in range(1, 12)
)
DMON = "#Entity   POWER   TOTEC   POWINST\nID          W      mJ         W\n" + "".join(
    f"GPU {gpu}     75.{i}   {1000 * i}    80.{i}\n" for i in range(9) for gpu in (0, 1)
)
EMISSIONS = (
    "timestamp,project_name,run_id,duration,emissions,cpu_energy,gpu_energy,ram_energy,"
    "energy_consumed,tracking_mode,pue\n"
    + "".join(
        f"2024-05-31T10:39:1{i},p,run-{i},10.5,1,0.001,0.002,0.003,0.006,machine,1.0\n"
        for i in range(8)
    )
)
PMT = "timestamp gpu_instant gpu_average\n" + "".join(
    f'17339352{25 + i}.009 2{i}.873 23.595\nM {i}.050 "{"start" if i % 2 else "end"}"\n'
    for i in range(9)
)
WHOLE = {
    "ptdaemon": SPL,
    "perf_rapl": PERF,
    "dcgm": DMON,
    "codecarbon": EMISSIONS,
    "pmt_text": PMT,
    "perf_rapl json": '{"interval" : 1.000, "counter-value" : "2.5", "unit" : "Joules", '
    '"event" : "power/energy-pkg/"}\n' * 9,
    "pmt_text dump": "marker time dt_micro device_timestamp power0 power_total\n"
    + "".join(f"S {i * 5e-5:.6g} 50 {i} 20 20\n" for i in range(40))
    + 'M 0.0001 0.0015 1 "kernel"\n',
    "dcgm metrics": "".join(
        f'DCGM_FI_DEV_POWER_USAGE{{gpu="{g}",UUID="GPU-{g}"}} 7{i}.5 {1714557600000 + 1000 * i}\n'
        for i in range(9)
        for g in (0, 1)
    ),
}


@pytest.mark.parametrize("form", WHOLE)
def test_cut_and_damaged_logs_are_read_or_refused_in_one_sentence(tmp_path, form):
    content = WHOLE[form].encode()
    form = form.partition(" ")[0]
    rng = np.random.default_rng(7)
    read = 0
    refusals = []
    for at in rng.integers(1, len(content), 40):
        damaged = bytearray(content)
        damaged[at] = int(rng.integers(32, 127))
        for case in (content[:at], bytes(damaged), content[:at] + b"\xff\xfe" + content[at:]):
            try:
                data = one_log(tmp_path, form, case)
            except WattproofError as error:
                refusals.append(str(error))
            else:
                read += 1
                assert data.samples.num_rows or data.reported.num_rows
                value = data.samples.to_pandas()["value"]
                assert np.isfinite(value.dropna()).all()
    assert read > 60
    assert all("log.txt" in sentence and "\n" not in sentence for sentence in refusals)


def test_every_flag_of_the_readers_has_a_sentence():
    found = set()
    for path in sorted(Path(ingest.__file__).parent.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        for call in re.findall(r"\b(?:finding|add)\(\s*(?:log,\s*)?\"(\w+)\"", source):
            found.add(call)
    assert {"broken_lines", "truncated_lines", "totals_so_far", "no_start"} <= found
    assert found <= set(quality.FLAGS)


# ------------------------------------------------------------------------------------- PTDaemon


def test_marks_of_ptdaemon_are_runs(tmp_path):
    data = one_log(tmp_path, "ptdaemon", SPL, time_zone="UTC", period_s=1.0)
    spans = [(w["run_id"], w["start_ns"], w["end_ns"]) for w in data.windows.to_pylist()]
    first = T0 * S + 48_000_000
    # A line is the mean of the second before its stamp.
    assert spans == [
        ("run_a", first + 2 * S, first + 7 * S),
        ("run_b", first + 9 * S, first + 13 * S),
    ]
    assert "no_marks" not in flags(data)
    assert {c["averaging_s"] for c in data.channels.to_pylist()} == {1.0}


def test_a_mark_that_comes_twice_is_two_runs(tmp_path):
    content = SPL.replace("run_b", "run_a")
    data = one_log(tmp_path, "ptdaemon", content, time_zone="UTC")
    assert [w["run_id"] for w in data.windows.to_pylist()] == ["run_a", "run_a-2"]


def test_marks_on_another_clock_are_left_out_and_said(tmp_path):
    (tmp_path / "spl.txt").write_text(SPL)
    (tmp_path / "pmt.txt").write_text(re.sub("M .*\n", "", PMT))
    data = load(
        tmp_path,
        [
            {"format": "pmt_text", "path": "pmt.txt", "clock": "node"},
            {"format": "ptdaemon", "path": "spl.txt", "clock": "meter", "time_zone": "UTC"},
        ],
    )
    assert {"marks_on_another_clock", "no_marks"} <= flags(data)
    assert [w["run_id"] for w in data.windows.to_pylist()] == ["s"]


def test_what_is_missing_of_a_cut_line_is_a_failed_reading(tmp_path):
    lines = SPL.splitlines()
    watts = lines[5].index("Watts,") + len("Watts,10")
    half = lines[7].index("Ch2,Watts,") + len("Ch2,Watts,4")
    lines[5], lines[7] = lines[5][:watts], lines[7][:half]
    data = one_log(tmp_path, "ptdaemon", "\n".join(lines), time_zone="UTC")
    total, second = values(data, "node.ac"), values(data, "node.ac.ch2")
    assert (len(total), len(second)) == (14, 14)
    # The digits that are left of 105.5 and 47.25 are no reading.
    assert (total[5], second[7]) == (None, None)
    assert total[7] == 107.5
    rows = [r for r in data.samples.to_pylist() if r["value"] is None]
    assert {r["status"] for r in rows} == {"truncated"}
    assert "truncated_lines" in flags(data)


# ------------------------------------------------------------------------------ MLPerf figures


def test_figures_of_a_manifest(tmp_path):
    (tmp_path / "spl.txt").write_text(SPL)
    logs = [{"format": "ptdaemon", "path": "spl.txt", "time_zone": "UTC"}]
    # Strictly inside run_a's stamps lie 104.5, 105.5, 106.5.
    good = {"run_id": "run_a", "channel": "node.ac", "rule": "mlperf_inference", "mean_w": 105.5}
    energy = {"run_id": "run_b", "channel": "node.ac", "rule": "energy", "energy_j": 300.0}
    data = load(tmp_path, logs, published=[good, energy])
    found = {r["flag"]: r for r in data.findings.to_pylist()}
    assert "105.500 W" in found["published_reproduced"]["evidence"]
    # Trapezoid over 110.5 … 113.5 W: 336 J.
    assert "a factor of 0.8929" in found["published_not_reproduced"]["evidence"]
    manifest = ingest.read_manifest(tmp_path / "manifest.yaml")
    rows = ingest.published_table(manifest, "s", data).to_pylist()
    assert [r["recomputed_w"] for r in rows] == [105.5, None]
    assert rows[1]["recomputed_j"] == pytest.approx(336.0)


def test_a_figure_of_a_run_without_readings_is_not_checked_and_that_is_said(tmp_path):
    (tmp_path / "spl.txt").write_text(SPL)
    data = load(
        tmp_path,
        [{"format": "ptdaemon", "path": "spl.txt", "time_zone": "Asia/Tokyo"}],
        windows=[{"run_id": "x", "start": "2022-02-12T08:19:20Z", "end": "2022-02-12T08:19:25Z"}],
        published=[
            {"run_id": "x", "channel": "node.ac", "rule": rule, key: 1.0}
            for rule, key in (("mean_power", "mean_w"), ("energy", "energy_j"))
        ],
    )
    found = [r for r in data.findings.to_pylist() if r["flag"] == "published_not_checked"]
    assert len(found) == 2


@pytest.mark.parametrize(
    ("figure", "sentence"),
    [
        ({"channel": "node.ac", "rule": "mean_power", "mean_w": 1.0}, "there are 2 runs"),
        (
            {"run_id": "run_c", "channel": "node.ac", "rule": "mean_power", "mean_w": 1.0},
            "0 windows of the run 'run_c'",
        ),
        (
            {"run_id": "run_a", "channel": "node.dc", "rule": "mean_power", "mean_w": 1.0},
            "0 logs of the set have the channel 'node.dc'",
        ),
        (
            {"run_id": "run_a", "channel": "node.ac", "rule": "energy", "mean_w": 1.0},
            "so it needs energy_j",
        ),
    ],
)
def test_figures_that_are_of_nothing(tmp_path, figure, sentence):
    (tmp_path / "spl.txt").write_text(SPL)
    logs = [{"format": "ptdaemon", "path": "spl.txt", "time_zone": "UTC"}]
    with pytest.raises(WattproofError, match=sentence):
        load(tmp_path, logs, published=[figure])


# ---------------------------------------------------------------------------------- Code Carbon


def carbon(rows, header="timestamp,project_name,run_id,duration,emissions,energy_consumed"):
    return "\n".join([header, *rows]) + "\n"


def test_totals_so_far_count_once(tmp_path):
    rows = [
        "2024-01-01T00:00:10,p,a,10,1,0.001",
        "2024-01-01T00:00:20,p,a,20,1,0.003",
        "2024-01-01T00:00:21,p,b,5,1,0.002",
    ]
    data = one_log(tmp_path, "codecarbon", carbon(rows), time_zone="UTC")
    found = [(r["run_id"], r["level"], r["energy_j"]) for r in data.reported.to_pylist()]
    assert found == [
        ("a", "interval", pytest.approx(3600.0)),
        ("a", "interval", pytest.approx(7200.0)),
        ("a", "run", pytest.approx(10800.0)),
        ("b", "run", pytest.approx(7200.0)),
    ]
    assert "totals_so_far" in flags(data)
    assert data.reported.to_pylist()[-1]["end_ns"] == 1_704_067_221 * S


def test_rows_of_one_name_that_are_no_totals_stay_apart(tmp_path):
    rows = ["2024-01-01T00:00:10,p,a,10,1,0.001", "2024-01-01T00:00:20,p,a,7,1,0.001"]
    data = one_log(tmp_path, "codecarbon", carbon(rows))
    assert [r["run_id"] for r in data.reported.to_pylist()] == ["a row 1", "a row 2"]


def test_files_of_tasks_have_a_run_per_task(tmp_path):
    header = "task_name,timestamp,project_name,run_id,duration,emissions,energy_consumed"
    rows = ["x,2024-01-01T00:00:10,p,a,10,1,0.001", "y,2024-01-01T00:00:20,p,a,17,1,0.001"]
    data = one_log(tmp_path, "codecarbon", carbon(rows, header))
    assert [r["run_id"] for r in data.reported.to_pylist()] == ["a/x", "a/y"]
    assert [r["level"] for r in data.reported.to_pylist()] == ["run", "run"]


def test_what_an_emissions_file_shows_about_itself(tmp_path):
    header = (
        "timestamp,project_name,run_id,duration,emissions,cpu_energy,gpu_energy,ram_energy,"
        "energy_consumed,tracking_mode,pue"
    )
    rows = [
        "2024-01-01T00:00:10,p,a,10,1,0.001,0.001,0.001,0.003,machine,1",
        "2024-01-01T00:00:20,p,b,10,1,0.001,-0.001,0.001,0.001,process,1",
        "2024-01-01T00:00:30,p,c,10,1,0.001,0.001,0.001,0.005,process,1",
        "2024-01-01T00:00:40,p,d,10,1,0.001,0.001,0.001,,process,1.5",
        "2024-01-01T00:00:50,p,e,10",
    ]
    data = one_log(tmp_path, "codecarbon", carbon(rows, header))
    assert {
        "negative_energy",
        "parts_do_not_add_up",
        "energy_missing",
        "constant_factor",
        "mixed_tracking_modes",
        "broken_lines",
    } <= flags(data)
    missing = [r for r in data.reported.to_pylist() if r["run_id"] == "d"]
    assert next(r for r in missing if r["channel"] == "node.total")["energy_j"] is None


# ------------------------------------------------------------------------------------ perf, DCGM


def test_perf_json_and_decimal_comma(tmp_path):
    lines = [
        {"interval": 1.000123, "counter-value": "12.500000", "unit": "Joules"},
        {"interval": 2.000123, "counter-value": "13.500000", "unit": "Joules"},
    ]
    content = "\n".join(json.dumps({**line, "event": "power/energy-pkg/"}) for line in lines)
    assert values(one_log(tmp_path, "perf_rapl", content), "cpu0.package") == [0.0, 12.5, 26.0]
    comma = "1,000123;12,50;Joules;power/energy-pkg/;1000;100,00;;\n"
    assert values(one_log(tmp_path, "perf_rapl", comma), "cpu0.package") == [0.0, 12.5]


def test_perf_by_socket_and_die_as_text(tmp_path):
    content = "".join(
        f"     {t}.0001 S{s}-D0          8              {t + s}.25 Joules power/energy-pkg/\n"
        for t in (1, 2)
        for s in (0, 1)
    )
    data = one_log(tmp_path, "perf_rapl", content)
    assert values(data, "cpu1.package") == [0.0, 2.25, 5.5]
    assert "no_start" in flags(data)


def test_raw_counts_of_perf_are_refused(tmp_path):
    with pytest.raises(WattproofError, match="not in Joules but raw counts"):
        one_log(tmp_path, "perf_rapl", "1.000,5368709120,,power/energy-pkg/,1000,100.00,,\n")


def test_stamped_dmon_lines(tmp_path):
    lines = DMON.splitlines()
    stamped = "\n".join(f"2024-05-01T10:00:{i:02d}.250000 {line}" for i, line in enumerate(lines))
    data = one_log(tmp_path, "dcgm", stamped, time_zone="UTC")
    assert not {"inferred_step", "no_start"} & flags(data)
    assert stamps(data, "gpu0.power_instant")[0] == 1_714_557_602 * S + 250_000_000
    assert values(data, "gpu0.power_instant")[:2] == [80.0, 80.1]


def test_metrics_of_two_hosts_and_of_mig_instances(tmp_path):
    line = 'DCGM_FI_DEV_POWER_USAGE{{gpu="0",Hostname="{h}",GPU_I_ID="{m}"}} {w} {t}\n'
    t = 1_714_557_600_000
    two = "".join(line.format(h=h, m=m, w=70, t=t) for h in "ab" for m in (1, 2))
    with pytest.raises(WattproofError, match=r"holds 2 hosts \(a, b\)"):
        one_log(tmp_path, "dcgm", two)
    data = one_log(tmp_path, "dcgm", two, host="b")
    assert values(data, "gpu0.power_average") == [70.0]


def test_a_metric_that_was_cut_off_is_left_out(tmp_path):
    line = 'DCGM_FI_DEV_POWER_USAGE{{gpu="0",UUID="GPU-a"}} 7{i}.5 {t}\n'
    content = "".join(line.format(i=i, t=1_714_557_600_000 + 1000 * i) for i in range(4))
    for cut in (3, 8, 15):
        data = one_log(tmp_path, "dcgm", content[:-cut])
        # Ten of thirteen digits would be an instant of 1970.
        assert stamps(data, "gpu0.power_average")[-1] == 1_714_557_602 * S
        assert "broken_lines" in flags(data)


# ----------------------------------------------------------------------------------- EnergyRunner


@pytest.fixture
def trace(tmp_path):
    folder = tmp_path / "trace"
    folder.mkdir()
    energy = np.full(5000, 100.0, dtype="<f4").tobytes()
    (folder / "t-energy.bin").write_bytes(b"\xf1" + struct.pack("<f", 1000.0) + energy)
    (folder / "t-timestamps.json").write_text("[0.01, 2.0, 3.0, 4.0, 4.5]")
    return folder


@pytest.mark.parametrize(
    ("file", "content", "word"),
    [
        ("t-energy.bin", b"", "t-energy.bin is empty or cut off"),
        ("t-energy.bin", b"Time,1\nsome text that is no trace", "no trace of EnergyRunner"),
        ("t-timestamps.json", b"[0.01, 2.0", "t-timestamps.json is not readable"),
        ("t-timestamps.json", b'{"a": 1}', "must hold a list of seconds"),
        ("t-timestamps.json", b"[0.1, 3, 2]", "must hold ascending seconds"),
        ("t-energy.bin", b"\xf1\x00\x00zD" + b"\xff" * 8, "2 values that are no numbers"),
    ],
)
def test_broken_traces_name_themselves(tmp_path, trace, file, content, word):
    (trace / file).write_bytes(content)
    with pytest.raises(WattproofError, match=re.escape(word)):
        load(tmp_path, [{"format": "energyrunner", "path": "trace"}])


def test_a_folder_without_a_trace(tmp_path, trace):
    shutil.move(trace / "t-energy.bin", tmp_path / "elsewhere.bin")
    with pytest.raises(WattproofError, match="holds no single"):
        load(tmp_path, [{"format": "energyrunner", "path": "trace"}])


# ----------------------------------------------------------------------------------- PowerSensor3


def dump_file(n=4000, marks=(), step_s=50.4e-6, first_s=12.0):
    """A dump as the host library prints it: six digits of time, steps cut off to microseconds."""
    lines = ["marker time dt_micro device_timestamp current0 voltage0 power0 power_total"]
    for i in range(n):
        watts = 100.0 if n // 4 <= i < n // 2 else 20.0
        mark = dict(marks).get(i, "S")
        lines.append(
            f"{mark} {first_s + i * step_s:.6g} {int(step_s * 1e6)} {i % 1024} "
            f"{watts / 12:.6g} 12 {watts:.6g} {watts:.6g}"
        )
    return lines


def test_dump_of_powersensor_has_its_own_resolution_back(tmp_path):
    content = "\n".join(dump_file(marks=[(1000, "A"), (2000, "B")])) + "\n"
    data = one_log(tmp_path, "pmt_text", content, source="powersensor")
    times = np.array(stamps(data, "gpu0.power")) / S
    # Printed are steps of 100 µs and of 50 µs; true ones are 50.4 µs.
    assert np.diff(times) == pytest.approx(50.4e-6, rel=5e-3)
    assert np.abs(times - (12.0 + np.arange(4000) * 50.4e-6)).max() < 100e-6
    window = data.windows.to_pylist()[0]
    assert window["run_id"] == "A1-B"
    assert window["end_ns"] - window["start_ns"] == pytest.approx(1000 * 50.4e-6 * S, rel=1e-2)
    assert "no_start" in flags(data)
    assert ingest.sniff(tmp_path / "log.txt")[0][0] == "pmt_text"


def test_dump_of_older_powersensors_names_stretches(tmp_path):
    lines = dump_file(first_s=0.0)
    lines[1001:1001] = ["M A"]
    lines.insert(2500, 'M 0.0504 0.1008 1 "kernel"')
    lines += ["S 0.2 5", 'M 0.12 0.13 2 "kernel"']
    data = one_log(
        tmp_path, "pmt_text", "\n".join(lines), source="powersensor", start="2024-05-01T10:00:00Z"
    )
    start = 1_714_557_600 * S
    assert [(w["run_id"], w["start_ns"] - start) for w in data.windows.to_pylist()] == [
        ("kernel", 50_400_000),
        ("kernel-2", 120_000_000),
    ]
    assert "broken_lines" in flags(data)
    assert values(data, "gpu0.power_pair0")[:2] == [20.0, 20.0]


def test_a_dump_without_readings_or_columns(tmp_path):
    head = dump_file(0)[0]
    with pytest.raises(WattproofError, match="no line of readings"):
        one_log(tmp_path, "pmt_text", head + "\n")
    with pytest.raises(WattproofError, match="lacks power_total"):
        one_log(tmp_path, "pmt_text", "marker time dt_micro\nS 0 50\n")


# -------------------------------------------------------------------------- damage to whole folders


@pytest.mark.parametrize("file", ["spl.txt", "client.json", "server.json", "mlperf_log_detail.txt"])
def test_a_damaged_power_run_is_read_or_refused_in_one_sentence(tmp_path, file):
    folder = power_run(tmp_path / "run")
    content = (folder / file).read_bytes()
    rng = np.random.default_rng(11)
    refusals = []
    for at in rng.integers(1, len(content), 30):
        damaged = bytearray(content)
        damaged[at] = int(rng.integers(32, 127))
        for case in (content[:at], bytes(damaged)):
            (folder / file).write_bytes(case)
            try:
                data = load(tmp_path, [{"format": "mlperf_inference", "path": "run"}])
            except WattproofError as error:
                refusals.append(str(error))
            else:
                assert data.samples.num_rows
                assert data.windows.num_rows == 1
    assert refusals
    assert all("run" in sentence and "\n" not in sentence for sentence in refusals)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"phases": None}, "notes no phase 'testing'"),
        ({"phases": {"testing": []}}, "notes no phase 'testing'"),
        ({"phases": {"testing": [["a", 1]]}}, "notes no phase 'testing'"),
        ({"messages": None}, "holds no messages"),
        ({"messages": ["hello"]}, "holds no messages"),
    ],
)
def test_json_of_another_shape(tmp_path, change, sentence):
    folder = power_run(tmp_path / "run")
    document = json.loads((folder / "server.json").read_text())
    (folder / "server.json").write_text(json.dumps({**document, **change}))
    with pytest.raises(WattproofError, match=sentence):
        load(tmp_path, [{"format": "mlperf_inference", "path": "run"}])


def test_strange_words_of_the_daemon_do_no_harm(tmp_path):
    folder = power_run(tmp_path / "run")
    document = json.loads((folder / "server.json").read_text())
    document["ptd_messages"] = [None, {"cmd": 5}, {"cmd": "Identify", "reply": None}]
    (folder / "server.json").write_text(json.dumps(document))
    assert load(tmp_path, [{"format": "mlperf_inference", "path": "run"}]).samples.num_rows
    document["ptd_messages"] = None
    (folder / "server.json").write_text(json.dumps(document))
    assert load(tmp_path, [{"format": "mlperf_inference", "path": "run"}]).samples.num_rows
