"""The writer that rotates, following a growing file, and the sums of an archive."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from archive_bench import write_part

from wattproof import archive
from wattproof.archive import duration, index, totals
from wattproof.archive.index import ENDED, LIVE, Entry
from wattproof.archive.tail import Account, Tail
from wattproof.errors import WattproofError
from wattproof.recorder import read_stream
from wattproof.recorder.rotation import RotatingWriter, Rotation, file_name
from wattproof.recorder.streams import Row
from wattproof.sources.base import Channel, Description, Status

HOUR_NS = 3_600_000_000_000
NOON_NS = 1_790_000_000_000_000_000 // HOUR_NS * HOUR_NS
NODE = Channel("node.ac", "W", "power", "S1", period_s=0.1)


class Clock:
    """Stands where `time` stands in the writer: wall and monotonic clock in step."""

    def __init__(self, wall_ns: int) -> None:
        self.wall_ns = wall_ns

    def time_ns(self) -> int:
        return self.wall_ns

    def monotonic_ns(self) -> int:
        return self.wall_ns - NOON_NS


def row(n: int, value: float | None = None, status: Status = Status.OK) -> Row:
    at = n * 100_000_000
    number = float(n) if value is None else value
    return ("node.ac", None, at, at, NOON_NS + at, at, number, status)


def writer(folder: Path, every_s: float) -> RotatingWriter:
    rotation = Rotation(str(folder), every_s, {"host": "h", "boot_id": "b"})
    return RotatingWriter(rotation, Description({"model": "M"}, (NODE,)))


def test_no_row_is_lost_or_doubled_between_threads(tmp_path: Path) -> None:
    """Rows are appended as fast as can be while another thread flushes and rotates."""
    made = writer(tmp_path, 0.02)
    appended = 0
    stop = threading.Event()

    def flush() -> None:
        while not stop.is_set():
            made.flush()

    thread = threading.Thread(target=flush)
    thread.start()
    while len(list(tmp_path.glob("*.arrows"))) < 10:
        made.append([row(appended)])
        appended += 1
    stop.set()
    thread.join()
    made.close()
    found: list[float] = []
    for name in sorted(tmp_path.glob("*.arrows")):
        rows, description, truncated = read_stream(name)
        assert not truncated
        assert description["identity"] == {"model": "M", "archive": {"host": "h", "boot_id": "b"}}
        found += rows["value"].to_pylist()
    assert found == [float(n) for n in range(appended)]


def test_files_begin_at_full_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(NOON_NS + HOUR_NS // 2)
    monkeypatch.setattr("wattproof.recorder.rotation.time", clock)
    made = writer(tmp_path, 3600)
    begins: list[float] = []
    for minutes in range(0, 240, 10):
        clock.wall_ns = NOON_NS + HOUR_NS // 2 + minutes * 60_000_000_000
        if made.flush():
            begins.append(30 + minutes)
    assert begins == [60, 120, 180, 240]
    made.close()
    # A start just before the hour makes no file of two seconds.
    clock.wall_ns = NOON_NS + 5 * HOUR_NS - 2_000_000_000
    made = writer(tmp_path, 3600)
    clock.wall_ns += 3_000_000_000
    assert not made.flush()
    clock.wall_ns += HOUR_NS
    assert made.flush()
    made.close()


def test_after_close_no_file_is_begun(tmp_path: Path) -> None:
    made = writer(tmp_path, 0.01)
    made.close()
    time.sleep(0.03)
    assert not made.flush()
    made.close()
    assert len(list(tmp_path.iterdir())) == 1


def test_names_are_instants() -> None:
    assert file_name(1_769_851_800_123_456_789) == "20260131T093000.123Z.arrows"


def test_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(WattproofError, match="Cannot create the stream"):
        writer(tmp_path / "absent", 1.0)


def test_tail_takes_whole_batches_once(tmp_path: Path) -> None:
    made = writer(tmp_path, 3600)
    tail = Tail(made.path)
    assert tail.read() is None
    assert tail.description["channels"][0]["name"] == "node.ac"
    seen: list[float] = []
    for n in range(0, 6, 2):
        made.append([row(n), row(n + 1)])
        made.flush()
        if n == 2:  # half of what comes next is not there yet
            whole = made.path.read_bytes()
            made.path.write_bytes(whole[:-10])
            assert tail.read() is None
            made.path.write_bytes(whole)
        rows = tail.read()
        assert rows is not None
        seen += rows["value"].to_pylist()
    assert seen == [0, 1, 2, 3, 4, 5]
    assert tail.read() is None
    assert not tail.ended
    made.close()
    assert tail.read() is None
    assert tail.ended


def test_foreign_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "index.jsonl").write_text("half a li")
    with pytest.raises(WattproofError, match=r"index\.jsonl is not the index of an archive"):
        index.load(tmp_path)
    (tmp_path / "index.jsonl").write_text("")
    (tmp_path / "parts" / "x.arrows").write_bytes(b"not arrow at all, but long enough to try")
    assert "no readings yet in 1 files" in archive.show(tmp_path)


def test_account_counts_gaps_failures_and_last_values(tmp_path: Path) -> None:
    rows = [row(0), row(1), row(2, None, Status.TIMEOUT), row(3), row(10), row(11), row(30)]
    rows[2] = (*rows[2][:6], None, Status.TIMEOUT)
    account = Account(write_part(tmp_path, rows, [NODE], {"host": "h", "boot_id": "b"}))
    account.look()
    entry = account.entry
    assert (entry.rows, entry.good, entry.failed) == (7, 6, {"timeout": 1})
    assert (entry.gaps, entry.longest_gap_s) == (2, pytest.approx(1.9))  # limit: 0.3 s
    assert entry.last == {"node.ac": [30.0, "W"]}
    assert (entry.state, entry.meter, entry.host) == (ENDED, "TEST-1 S1", "h")
    index.save(tmp_path, [entry])
    assert index.load(tmp_path) == [entry]


def test_sums_count_what_lies_between_files() -> None:
    def entry(begin_s: float, end_s: float) -> Entry:
        first, last = (NOON_NS + round(t * 1e9) for t in (begin_s, end_s))
        return Entry("f", ENDED, 10, 10, {"garbled": 1}, first, last, first, last, gap_s=0.3)

    total = totals.add_up([entry(0, 1), Entry("empty", LIVE), entry(1.1, 2), entry(9, 10)])
    assert (total.good, total.failed) == (30, {"garbled": 3})
    assert (total.gaps, total.longest_gap_s) == (1, pytest.approx(7.0))
    assert totals.gaps(total) == "1 gap (longest 7.0 s)"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("2s", 2), ("15min", 900), ("1.5h", 5400), ("30d", 2_592_000), ("1 W", 604_800)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration.parse(text, "--rotate") == seconds


@pytest.mark.parametrize("text", ["", "h", "-1h", "0s", "1y", "1h30", "nan"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(WattproofError, match="Option --rotate is"):
        duration.parse(text, "--rotate")


@pytest.mark.parametrize(
    ("say", "expected"),
    [
        (lambda: totals.span(45), "45.0 s"),
        (lambda: totals.span(1800), "30.0 min"),
        (lambda: totals.span(90_000), "1 d 1.0 h"),
        (lambda: totals.failures({"timeout": 2, "garbled": 1}), "3 failed (1 garbled, 2 timeout)"),
        (lambda: totals.utc(1_769_851_800_000_000_000), "2026-01-31 09:30:00 UTC"),
    ],
)
def test_words(say: Callable[[], str], expected: str) -> None:
    assert say() == expected
