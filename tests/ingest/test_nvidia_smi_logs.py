"""Logs of nvidia-smi in all their variants, each written here."""

from __future__ import annotations

import pytest
from audit_manifest import flags, one_log, stamps, values

from wattproof import ingest
from wattproof.errors import WattproofError

T0 = 1_714_557_600_000_000_000  # 2024-05-01T10:00:00Z
MS = 10**6
UTC = {"time_zone": "UTC"}


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


def test_units_in_the_cells(tmp_path):
    data = one_log(
        tmp_path,
        "nvidia_smi",
        lines(
            "timestamp, index, uuid, power.draw [W], utilization.gpu [%], memory.used [MiB]",
            "2024/05/01 10:00:00.100, 0, GPU-11111111-aa, 75.31 W, 12 %, 1024 MiB",
            "2024/05/01 10:00:00.104, 1, GPU-22222222-bb, [N/A], 0 %, 4 MiB",
            "2024/05/01 10:00:01.100, 0, GPU-11111111-aa, 80.00 W, 15 %, 1024 MiB",
        ),
        **UTC,
    )
    assert values(data, "gpu0.power") == [75.31, 80.0]
    assert stamps(data, "gpu0.power") == [T0 + 100 * MS, T0 + 1100 * MS]
    assert values(data, "gpu0.memory_used") == [2.0**30, 2.0**30]
    lost = [r for r in data.samples.to_pylist() if r["channel"] == "gpu1.power"]
    assert [(r["value"], r["status"]) for r in lost] == [(None, "not_supported")]
    devices = {r["channel"]: r["device"] for r in data.channels.to_pylist()}
    assert devices["gpu1.power"] == "GPU-22222222-bb"
    assert flags(data) == {"no_marks"}


def test_units_in_the_header_only(tmp_path):
    data = one_log(
        tmp_path,
        "nvidia_smi",
        lines(
            "timestamp, power.draw.instant [W], clocks.sm [MHz]",
            "2024/05/01 10:00:00.100, 75.31, 1980",
        ),
        **UTC,
    )
    assert values(data, "gpu0.power_instant") == [75.31]
    assert values(data, "gpu0.sm_clock") == [1.98e9]
    assert "inferred_unit" not in flags(data)


def test_units_nowhere_are_reported(tmp_path):
    data = one_log(
        tmp_path,
        "nvidia_smi",
        lines("timestamp, power.draw", "2024/05/01 10:00:00.100, 75.31"),
        **UTC,
    )
    assert values(data, "gpu0.power") == [75.31]
    assert "inferred_unit" in flags(data)


def test_no_header_is_inferred_and_reported(tmp_path):
    data = one_log(
        tmp_path,
        "nvidia_smi",
        lines(
            "2024/05/01 10:00:00.100, 0, 75.31 W, 12 %, 3 %",
            "2024/05/01 10:00:00.103, 1, 70.00 W, 0 %, 0 %",
            "2024/05/01 10:00:01.100, 0, 76.31 W, 12 %, 3 %",
        ),
    )
    assert values(data, "gpu0.power") == [75.31, 76.31]
    assert values(data, "gpu0.memory_utilisation") == [3.0, 3.0]
    assert {"inferred_columns", "inferred_time_zone"} <= flags(data)


def test_columns_of_the_manifest_stand_in_for_a_header(tmp_path):
    data = one_log(
        tmp_path,
        "nvidia_smi",
        lines("2024/05/01 10:00:00.100, 75.31"),
        columns=["timestamp", "power.draw"],
        **UTC,
    )
    assert values(data, "gpu0.power") == [75.31]
    assert "inferred_columns" not in flags(data)
    with pytest.raises(WattproofError, match="has 2 columns, but 'columns'"):
        one_log(tmp_path, "nvidia_smi", lines("2024/05/01 10:00:00.100, 75"), columns=["timestamp"])


@pytest.mark.parametrize("gpus", [2, 3, 4, 8])
def test_gpus_that_take_turns_without_a_name(tmp_path, gpus):
    rows = ["timestamp, power.draw [W]"]
    for poll in range(6):
        for gpu in range(gpus):
            rows.append(f"2024/05/01 10:00:0{poll}.{100 + gpu:03d}, {100 * gpu + poll + 1} W")
    data = one_log(tmp_path, "nvidia_smi", lines(*rows), **UTC)
    for gpu in range(gpus):
        assert values(data, f"gpu{gpu}.power") == [100.0 * gpu + p + 1 for p in range(6)]
    assert "inferred_devices" in flags(data)


def test_one_gpu_is_not_taken_for_several(tmp_path):
    rows = ["timestamp, power.draw [W]"]
    rows += [f"2024/05/01 10:00:{s:02d}.100, {70 + s} W" for s in range(24)]
    data = one_log(tmp_path, "nvidia_smi", lines(*rows), **UTC)
    assert len(values(data, "gpu0.power")) == 24
    assert "inferred_devices" not in flags(data)


def test_appended_logs_broken_lines_and_odd_cells(tmp_path):
    head = "timestamp, index, power.draw [W]"
    data = one_log(
        tmp_path,
        "nvidia_smi",
        lines(
            head,
            "2024/05/01 10:00:00.100, 0, 75.31 W",
            head,
            "2024/05/01 10:00:01.100, 0, [Unknown Error]",
            "2024/05/01 10:00:02.100, 0, ERR!",
            "2024/05/01 10:00:03.100, 0, 0.00 W",
            "2024/05/01 10:00:04.1",
        ),
        **UTC,
    )
    rows = [(r["value"], r["status"]) for r in data.samples.to_pylist()]
    assert rows == [(75.31, "ok"), (None, "error"), (None, "error"), (None, "missing")]
    assert "broken_lines" in flags(data)


def test_local_time_of_a_known_zone(tmp_path):
    content = lines("timestamp, power.draw [W]", "2024/05/01 12:00:00.000, 75.31 W")
    data = one_log(tmp_path, "nvidia_smi", content, time_zone="Europe/Berlin")
    assert stamps(data, "gpu0.power") == [T0]
    with pytest.raises(WattproofError, match="no time zone 'Europe/Berlim'"):
        one_log(tmp_path, "nvidia_smi", content, time_zone="Europe/Berlim")


def test_dmon(tmp_path):
    data = one_log(
        tmp_path,
        "nvidia_smi",
        lines(
            "#Date       Time        gpu    pwr  gtemp  mtemp     sm    mem",
            "#YYYYMMDD   HH:MM:SS    Idx      W      C      C      %      %",
            " 20240501   10:00:00      0     75     34      -     10      2",
            " 20240501   10:00:00      1     70     33      -      0      0",
            " 20240501   10:00:01      0     80     34      -     12      3",
        ),
        **UTC,
    )
    assert values(data, "gpu0.power") == [75.0, 80.0]
    assert stamps(data, "gpu0.power") == [T0, T0 + 10**9]
    assert values(data, "gpu1.utilisation") == [0.0]


def test_appended_reports(tmp_path):
    def report(second: int, watts: str) -> str:
        return (
            '<?xml version="1.0" ?>\n<nvidia_smi_log>'
            f"<timestamp>Wed May  1 10:00:0{second} 2024</timestamp>"
            "<driver_version>550</driver_version><gpu id='0'><uuid>GPU-1</uuid>"
            "<product_name>X</product_name><utilization><gpu_util>5 %</gpu_util></utilization>"
            f"<gpu_power_readings><power_draw>{watts}</power_draw></gpu_power_readings>"
            "</gpu></nvidia_smi_log>"
        )

    data = one_log(tmp_path, "nvidia_smi", report(0, "75.00 W") + "\n" + report(1, "N/A"), **UTC)
    assert values(data, "gpu0.power") == [75.0, None]
    assert stamps(data, "gpu0.power") == [T0, T0 + 10**9]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x00\x01\x02power", "binary"),
        (b"timestamp, power.draw [W]\n", "no row of readings"),
        (b"a, b\n1, 2\n", "no column of time stamps"),
        (b"timestamp, name\n2024/05/01 10:00:00.1, X\n", "no column of power"),
    ],
)
def test_files_that_cannot_be_read_name_themselves(tmp_path, content, words):
    with pytest.raises(WattproofError, match=words) as caught:
        one_log(tmp_path, "nvidia_smi", content, **UTC)
    assert "log.txt" in str(caught.value)


def test_the_format_is_recognised(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("timestamp, power.draw [W]\n2024/05/01 10:00:00.1, 75 W\n")
    assert ingest.sniff(path)[0][0] == "nvidia_smi"
