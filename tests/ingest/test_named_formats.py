"""Readers of named formats, each on a log in the form that its tool writes."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from audit_manifest import flags, load, one_log, stamps, values
from mlperf_power_run import T0, S, power_run, spl

from wattproof import clocks, ingest
from wattproof.errors import WattproofError


def test_ptdaemon_channels_and_values_that_are_none(tmp_path):
    more = ",Ch1,Watts,40.0,Volts,230,Ch2,Watts,-1.0,Volts,-1"
    content = (
        spl(5, [100.5, "-1.000000", "Inf", "NaN", "0.000000"], more=more)
        + "Time,02-12-2022 08:20:0"
    )
    data = one_log(tmp_path, "ptdaemon", content, time_zone="UTC")
    assert values(data, "node.ac") == [100.5, None, None, None, 0.0]
    assert [r["status"] for r in data.samples.to_pylist() if r["channel"] == "node.ac"] == [
        "ok",
        "not_supported",
        "overrange",
        "missing",
        "ok",
    ]
    assert values(data, "node.ac.ch1") == [40.0] * 5
    assert "node.ac.ch2" not in data.channels.column("channel").to_pylist()
    assert stamps(data, "node.ac")[0] == T0 * S + 48_000_000
    assert "broken_lines" in flags(data)


def test_ptdaemon_marks_are_chosen_by_name(tmp_path):
    content = spl(2, [1, 2], mark="a") + spl(2, [3, 4], mark="b")
    assert values(one_log(tmp_path, "ptdaemon", content, mark="b"), "node.ac") == [3.0, 4.0]
    with pytest.raises(WattproofError, match="no line with the mark 'c'; it has a, b"):
        one_log(tmp_path, "ptdaemon", content, mark="c")


@pytest.mark.parametrize(("zone_h", "loadgen_h"), [(-7, 0), (0, 0), (5, -3), (0, 9)])
def test_time_zones_of_both_logs_are_found_by_the_epochs(tmp_path, zone_h, loadgen_h):
    power_run(tmp_path / "run", zone_h, loadgen_h=loadgen_h)
    data = load(
        tmp_path, [{"format": "mlperf_inference", "path": "run", "published_mean_w": 121.5}]
    )
    found = data.findings.to_pylist()
    zones = [r["value"] for r in found if r["flag"] == "inferred_time_zone"]
    assert zones == [zone_h, loadgen_h]
    # Stamps 08:19:20.048 … 08:19:59.048 lie inside: readings 102 … 141.
    assert "published_reproduced" in flags(data)
    window = data.windows.to_pylist()[0]
    assert (window["start_ns"], window["end_ns"]) == ((T0 + 2) * S, (T0 + 42) * S)
    clock = clocks.align(data.samples, data.channels, data.marks, {}, data.exchanges).iloc[0]
    assert clock["accepted"]
    assert clock["offset_ns"] == pytest.approx(-0.04 * S, abs=0.003 * S)


def test_readings_of_no_power_do_not_count_in_the_official_rule(tmp_path):
    power_run(tmp_path / "run", watts=[0.0 if i == 10 else 100.0 for i in range(60)])
    data = load(
        tmp_path, [{"format": "mlperf_inference", "path": "run", "published_mean_w": 100.0}]
    )
    assert "published_reproduced" in flags(data)


def test_messages_are_paired_by_what_they_say(tmp_path):
    folder = power_run(tmp_path / "run")
    document = json.loads((folder / "server.json").read_text())
    del document["messages"][1]
    (folder / "server.json").write_text(json.dumps(document))
    data = load(tmp_path, [{"format": "mlperf_inference", "path": "run"}])
    rows = data.exchanges.to_pylist()
    assert len(rows) == 6
    assert all(abs(r["device_ns"] - r["sent_ns"]) < 0.1 * S for r in rows)


def test_a_published_figure_that_does_not_come_out(tmp_path):
    power_run(tmp_path / "run")
    data = load(
        tmp_path, [{"format": "mlperf_inference", "path": "run", "published_mean_w": 120.0}]
    )
    rows = {r["flag"]: r for r in data.findings.to_pylist()}
    assert rows["published_not_reproduced"]["severity"] == "error"


@pytest.mark.parametrize("file", ["spl.txt", "client.json", "mlperf_log_detail.txt"])
def test_a_power_run_that_lacks_a_file(tmp_path, file):
    (power_run(tmp_path / "run") / file).unlink()
    with pytest.raises(WattproofError, match=rf"lacks {file}"):
        load(tmp_path, [{"format": "mlperf_inference", "path": "run"}])


def test_logs_of_another_session_are_refused(tmp_path):
    folder = power_run(tmp_path / "run")
    text = (folder / "server.json").read_text().replace(str(T0)[:6], str(T0 - 10**7)[:6])
    (folder / "server.json").write_text(text)
    with pytest.raises(WattproofError, match="no time zone puts its stamps"):
        load(tmp_path, [{"format": "mlperf_inference", "path": "run"}])


def test_energyrunner(tmp_path):
    folder = tmp_path / "trace"
    folder.mkdir()
    energy = np.full(5000, 100.0, dtype="<f4")
    energy[2000:3000] = 300.0
    (folder / "t-energy.bin").write_bytes(
        b"\xf1" + struct.pack("<f", 1000.0) + energy.tobytes() + b"\x01"
    )
    (folder / "t-timestamps.json").write_text("[0.01, 2.0, 3.0, 4.0, 4.5]")
    (folder / "results.txt").write_text(
        "00001.0 ulp-ml: Energy data for window 2 at time 2.00 for 1.00 sec.:\n"
        "00001.0 ulp-ml:   Energy       :  300000.000 uJ\n"
    )
    data = load(tmp_path, [{"format": "energyrunner", "path": "trace"}])
    spans = [(r["start_ns"], r["end_ns"]) for r in data.windows.to_pylist()]
    assert spans == [(2 * S, 3 * S), (4 * S, 4_500_000_000)]
    assert values(data, "device.energy")[-1] == pytest.approx(0.1 * 4 + 0.3)
    assert "published_reproduced" in flags(data)
    (folder / "t-energy.bin").write_bytes(b"\xf1\x00")
    with pytest.raises(WattproofError, match="cut off"):
        load(tmp_path, [{"format": "energyrunner", "path": "trace"}])


def test_codecarbon_rows_of_old_and_new_versions(tmp_path):
    old = (
        "timestamp,project_name,duration,emissions,energy_consumed\n"
        "2021-01-01T00:00:00,p,10,1,0.001\n"
    )
    rows = one_log(tmp_path, "codecarbon", old).reported.to_pylist()
    assert [(r["channel"], r["energy_j"], r["mean_w"]) for r in rows] == [
        ("node.total", 3600.0, 360.0)
    ]
    new = (
        "timestamp,project_name,run_id,duration,emissions,cpu_power,cpu_energy,gpu_energy,"
        "ram_energy,energy_consumed\n2024-01-01T00:00:00,p,r1,10,1,5,0.001,0.002,0.003,0.006\n"
    )
    data = one_log(tmp_path, "codecarbon", new)
    assert {r["channel"]: r["energy_j"] for r in data.reported.to_pylist()} == {
        "node.total": 21_600.0,
        "cpu.total": 3_600.0,
        "gpu.total": 7_200.0,
        "ram.total": 10_800.0,
    }
    assert "unnamed_runs" not in flags(data)
    with pytest.raises(WattproofError, match=r"no emissions\.csv"):
        one_log(tmp_path, "codecarbon", "a,b\n1,2\n")


PERF_TEXT = """# started on Wed May  1 10:00:00 2024

#           time             counts unit events
     1.000100000              12.50 Joules power/energy-pkg/
     1.000100000               2.00 Joules power/energy-ram/
     2.000200000      <not counted> Joules power/energy-pkg/
     2.000200000               2.50 Joules power/energy-ram/
     3.000300000              13.50 Joules power/energy-pkg/
"""


def test_perf_text(tmp_path):
    data = one_log(tmp_path, "perf_rapl", PERF_TEXT, time_zone="UTC")
    # A counter with a hole would be too low behind it, so this one is mean power.
    first, lost, last = values(data, "cpu0.package")
    assert (first, lost) == (pytest.approx(12.5 / 1.0001), None)
    assert last == pytest.approx(13.5 / 1.0001)
    assert values(data, "cpu0.dram") == [0.0, 2.0, 4.5]
    assert stamps(data, "cpu0.dram")[1] == 1_714_557_601 * S + 100_000
    assert {"lost_intervals", "whole_second_start"} <= flags(data)


def test_perf_csv_per_socket(tmp_path):
    content = "".join(
        f"{t}.000000000,S{s},1,{1 + s}.00,Joules,power/energy-pkg/,1000,100.00,,\n"
        for t in (1, 2)
        for s in (0, 1)
    )
    data = one_log(tmp_path, "perf_rapl", content, start="2024-05-01T10:00:00Z")
    assert values(data, "cpu1.package") == [0.0, 2.0, 4.0]
    with pytest.raises(WattproofError, match="no interval"):
        one_log(tmp_path, "perf_rapl", "1.0,5,,cycles\n")


def test_dcgm_dmon_and_scrapes(tmp_path):
    content = (
        "#Entity   POWER   TOTEC\nID          W      mJ\n"
        "GPU 0     75.5   1000\nGPU 1     N/A   5\nGPU 0     80.5   2000\n"
    )
    data = one_log(tmp_path, "dcgm", content)
    assert values(data, "gpu0.power_average") == [75.5, 80.5]
    assert values(data, "gpu0.energy") == [1.0, 2.0]
    assert values(data, "gpu1.power_average") == [None]
    assert "inferred_step" in flags(data)
    scrape = 'DCGM_FI_DEV_POWER_USAGE{{gpu="0",UUID="GPU-a"}} {w} {t}\n'
    text = "".join(scrape.format(w=70 + i, t=1_714_557_600_000 + 1000 * i) for i in range(3))
    data = one_log(tmp_path, "dcgm", "# HELP x\n" + text)
    assert values(data, "gpu0.power_average") == [70.0, 71.0, 72.0]
    with pytest.raises(WattproofError, match="no time stamps"):
        one_log(tmp_path, "dcgm", 'DCGM_FI_DEV_POWER_USAGE{gpu="0"} 70\n')


def test_pmt_text_and_its_kernels(tmp_path):
    content = (
        'timestamp gpu_instant gpu_average\n1733935225.009 28.873 23.595\nM 0.050 "start"\n'
        '1733935225.069 60.226 31.760\nM 0.100 "end"\n1733935225.129 28.789\n'
    )
    data = one_log(tmp_path, "pmt_text", content, source="nvml")
    assert values(data, "gpu0.power_instant") == [28.873, 60.226]
    window = data.windows.to_pylist()[0]
    begin = 1_733_935_225_009_000_000
    assert (window["start_ns"], window["end_ns"]) == (begin + 50_000_000, begin + 100_000_000)
    averaging = {r["channel"]: r["averaging_s"] for r in data.channels.to_pylist()}
    assert averaging["gpu0.power_average"] == 1.0
    assert "broken_lines" in flags(data)


@pytest.mark.parametrize(
    "form", ["ptdaemon", "codecarbon", "perf_rapl", "dcgm", "pmt_text", "delimited"]
)
@pytest.mark.parametrize(("content", "word"), [(b"", "empty"), (b"\x00\x01\xff" * 50, "binary")])
def test_every_reader_names_a_file_that_is_no_text(tmp_path, form, content, word):
    with pytest.raises(WattproofError, match=word) as caught:
        one_log(tmp_path, form, content)
    assert "log.txt" in str(caught.value)


def test_formats_are_recognised(tmp_path):
    for name, content in (
        ("ptdaemon", spl(1, [1])),
        ("codecarbon", "timestamp,duration,emissions,energy_consumed\n"),
        ("perf_rapl", PERF_TEXT),
        ("dcgm", "#Entity POWER\n"),
        ("pmt_text", "timestamp device\n1733935203.161 17.000\n"),
    ):
        path = tmp_path / name
        path.write_text(content)
        assert ingest.sniff(path)[0][0] == name
    assert ingest.sniff(power_run(tmp_path / "run"))[0][0] == "mlperf_inference"
