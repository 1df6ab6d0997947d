"""Logs of nvidia-smi that lost rows: no reading may be given to another GPU, or go unnoticed."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from audit_manifest import flags, one_log, values

from wattproof.errors import WattproofError
from wattproof.ingest import Ingested

ZONE = {"time_zone": "UTC"}
START = datetime(2024, 5, 1, 10, tzinfo=UTC)
HEAD = "timestamp, power.draw [W]"


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


def poll_rows(gpus: int, polls: int, within_ms: float = 1.0, period_ms: float = 1000) -> list[str]:
    """Rows of polls; the watts say which GPU (hundreds) each reading is of."""
    rows = []
    for poll in range(polls):
        for gpu in range(gpus):
            t = START + timedelta(milliseconds=poll * period_ms + int(gpu * within_ms))
            rows.append(f"{t:%Y/%m/%d %H:%M:%S}.{t.microsecond // 1000:03d}, {100 * gpu + 50} W")
    return rows


def boards_hold(data: Ingested) -> None:
    """Every reading stands with its own GPU."""
    for row in data.samples.to_pylist():
        assert row["channel"] == f"gpu{int(row['value'] // 100)}.power"


def broken(data: Ingested) -> list[dict[str, Any]]:
    return [row for row in data.findings.to_pylist() if row["flag"] == "broken_lines"]


@pytest.mark.parametrize("gpus", [None, 4])
@pytest.mark.parametrize(
    ("gone", "left_out"),
    [([34, 35], 2), ([10], 3), ([0], 3), ([5, 10, 15, 20], 12), ([0, 1, 2, 3], 0)],
)
def test_lost_rows_cost_their_polls_only(tmp_path, gpus, gone, left_out):
    rows = [row for i, row in enumerate(poll_rows(4, 9)) if i not in gone]
    settings = {} if gpus is None else {"gpus": gpus}
    data = one_log(tmp_path, "nvidia_smi", lines(HEAD, *rows), **ZONE, **settings)
    boards_hold(data)
    assert len(values(data, "gpu3.power")) == (len(rows) - left_out) / 4
    assert [row["affected"] for row in broken(data)] == ([left_out] if left_out else [])
    if gone == [34, 35]:
        assert "the last one among them" in broken(data)[0]["evidence"]


@pytest.mark.parametrize("stated", [False, True])
def test_random_deletions_never_swap_boards(tmp_path, stated):
    """As long as one poll survived whole (or the manifest states the number of GPUs)."""
    chance = random.Random(17)
    read, refused = 0, set()
    for _ in range(60):
        gpus, polls = chance.choice([2, 3, 4, 8, 16]), chance.randint(5, 30)
        within, period = chance.choice([(0, 1000), (1, 1000), (8, 500), (1, 100), (20, 2000)])
        rate = chance.choice([0.01, 0.05, 0.2, 0.5])
        rows = poll_rows(gpus, polls, within, period)
        whole = chance.randrange(polls)
        kept = [
            row
            for i, row in enumerate(rows)
            if (not stated and i // gpus == whole) or chance.random() > rate
        ]
        settings = {"gpus": gpus} if stated else {}
        try:
            data = one_log(tmp_path, "nvidia_smi", lines(HEAD, *kept), **ZONE, **settings)
        except WattproofError as error:
            refused.add("which GPU they are of" in str(error))
            continue
        boards_hold(data)
        used = data.samples.num_rows
        assert sum(row["affected"] for row in broken(data)) == len(kept) - used
        read += 1
    assert read > 20
    assert refused <= {True}


@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        (poll_rows(4, 9), {"gpus": 3}),
        (poll_rows(1, 20), {"gpus": 2}),
        (poll_rows(4, 1), {}),
        (poll_rows(2, 12, within_ms=1000, period_ms=2000), {"gpus": 2}),
        (poll_rows(2, 1)[:1], {"gpus": 2}),
        (poll_rows(4, 6) + [r.replace("/01 ", "/02 ") for r in poll_rows(3, 6)], {}),
    ],
)
def test_polls_that_cannot_be_told_apart_are_refused(tmp_path, rows, settings):
    with pytest.raises(WattproofError, match="do not say which GPU they are of") as caught:
        one_log(tmp_path, "nvidia_smi", lines(HEAD, *rows), **ZONE, **settings)
    assert "field index" in str(caught.value)
    assert "log.txt" in str(caught.value)


def test_a_single_gpu_with_lost_rows_and_pauses_stays_one(tmp_path):
    rows = poll_rows(1, 40)
    rows = rows[:10] + rows[11:25] + rows[27:] + [r.replace(" 10:", " 15:") for r in rows]
    data = one_log(tmp_path, "nvidia_smi", lines(HEAD, *rows), **ZONE)
    assert len(values(data, "gpu0.power")) == len(rows)
    assert not {"inferred_devices", "broken_lines"} & flags(data)


def test_bursts_of_one_gpu_are_no_gpus(tmp_path):
    rows = [r.replace(" 10:", f" {hour}:") for hour in range(10, 18) for r in poll_rows(1, 5)]
    try:
        data = one_log(tmp_path, "nvidia_smi", lines(HEAD, *rows), **ZONE)
    except WattproofError:
        return
    boards_hold(data)


def test_rows_with_an_unreadable_index_or_stamp_are_counted(tmp_path):
    data = one_log(
        tmp_path,
        "nvidia_smi",
        lines(
            "timestamp, index, power.draw [W]",
            "2024/05/01 10:00:00.1, 0, 75 W",
            "2024/05/01 10:00:01.1, [Unknown Error], 76 W",
            "2024/05/01 10:00:02.1, 0.5, 77 W",
            "2024/05/01 10:00:0x.1, 0, 78 W",
        ),
        **ZONE,
    )
    assert values(data, "gpu0.power") == [75.0]
    assert sorted(row["affected"] for row in broken(data)) == [1, 2]


def test_an_unreadable_uuid_is_no_board(tmp_path):
    data = one_log(
        tmp_path,
        "nvidia_smi",
        lines(
            "timestamp, uuid, power.draw [W]",
            "2024/05/01 10:00:00.1, GPU-11111111-aa, 75 W",
            "2024/05/01 10:00:01.1, [N/A], 76 W",
        ),
        **ZONE,
    )
    assert values(data, "gpu0.power") == [75.0]
    assert [row["affected"] for row in broken(data)] == [1]


def test_odd_lines_of_dmon_are_counted(tmp_path):
    head = ("#Date       Time        gpu    pwr", "#YYYYMMDD   HH:MM:SS    Idx      W")
    data = one_log(
        tmp_path,
        "nvidia_smi",
        lines(*head, " 20240501 10:00:00 0 75", " 20240501 10:00:01 0", " 20240501 10:00:02 0 7 7"),
        **ZONE,
    )
    assert values(data, "gpu0.power") == [75.0]
    assert [(row["affected"], row["of"]) for row in broken(data)] == [(2, 3)]
    with pytest.raises(WattproofError, match="no whole line"):
        one_log(tmp_path, "nvidia_smi", lines(*head, " 20240501 10:00:01 0"), **ZONE)


def test_reports_that_are_cut_off_are_counted(tmp_path):
    def report(second: int) -> str:
        return (
            f"<nvidia_smi_log><timestamp>Wed May  1 10:00:0{second} 2024</timestamp>"
            "<gpu id='0'><uuid>GPU-1</uuid><gpu_power_readings><power_draw>75.00 W</power_draw>"
            "</gpu_power_readings></gpu></nvidia_smi_log>\n"
        )

    content = report(0) + report(1)[:-60] + "\n" + report(2) + report(3)[:-25]
    data = one_log(tmp_path, "nvidia_smi", content, **ZONE)
    assert values(data, "gpu0.power") == [75.0, 75.0]
    assert [(row["affected"], row["of"]) for row in broken(data)] == [(2, 4)]
    with pytest.raises(WattproofError, match="no whole report"):
        one_log(tmp_path, "nvidia_smi", report(0)[:-25], **ZONE)


def test_decimal_commas_of_a_spreadsheet(tmp_path):
    rows = "".join(f"2024/05/01 10:00:0{i}.100;0;7{i},31 W\n" for i in range(5))
    data = one_log(tmp_path, "nvidia_smi", "timestamp;index;power.draw [W]\n" + rows)
    assert values(data, "gpu0.power") == [70.31, 71.31, 72.31, 73.31, 74.31]
