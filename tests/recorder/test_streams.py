"""Streams survive a cut at any place: whole batches before it are read, the cut is noticed."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.recorder.streams import FLUSH_S, Row, StreamWriter, read_stream
from wattproof.sources.base import Channel, Description, Status

DESCRIPTION = Description(
    {"model": "SIMULATED"},
    (
        Channel("a.power", "W", "power", "dev", period_s=0.1, identity={"means": "é"}),
        Channel("b.energy", "J", "energy", "dev", wrap=262.0),
    ),
    simulated=True,
)


def row(i: int) -> Row:
    """One good row, or one of the kinds with nulls."""
    t = 10**18 + i
    if i % 3 == 0:
        return ("a.power", t, t + 1, t + 2, t + 3, None, i + 0.5, Status.OK)
    if i % 3 == 1:
        return ("b.energy", None, t + 1, t + 2, t + 3, t + 4, float(i), Status.OK)
    return ("b.energy", t, t + 1, t + 2, t + 3, None, None, Status.DEVICE_LOST)


def as_row(item: dict[str, object]) -> tuple[object, ...]:
    return tuple(item.values())


def write(path: Path, batches: list[int]) -> list[int]:
    """Write batches of so many rows; return the file's size after each (and after the head)."""
    writer = StreamWriter(path, DESCRIPTION)
    sizes = [path.stat().st_size]
    number = 0
    for count in batches:
        writer.append([row(number + i) for i in range(count)])
        number += count
        writer.flush()
        sizes.append(path.stat().st_size)
    writer.close()
    return sizes


def test_round_trip_and_description(tmp_path: Path) -> None:
    write(tmp_path / "s.arrows", [4, 1, 7])
    table, description, truncated = read_stream(tmp_path / "s.arrows")
    assert not truncated
    assert [as_row(r) for r in table.to_pylist()] == [(*row(i)[:-1], row(i)[-1]) for i in range(12)]
    expected = [n for n in tables.schema("samples").names if n in table.column_names]
    assert table.column_names == expected
    assert description["identity"] == {"model": "SIMULATED"}
    assert description["simulated"] is True
    assert [c["name"] for c in description["channels"]] == ["a.power", "b.energy"]
    assert description["channels"][0]["identity"] == {"means": "é"}


def test_any_arrow_reader_opens_it(tmp_path: Path) -> None:
    write(tmp_path / "s.arrows", [4, 1, 7])
    with pa.ipc.open_stream(tmp_path / "s.arrows") as reader:
        assert reader.read_all().num_rows == 12


def test_cut_at_every_offset(tmp_path: Path) -> None:
    """Rows of complete batches survive, none is invented, and no cut goes unnoticed."""
    path, cut = tmp_path / "s.arrows", tmp_path / "cut.arrows"
    sizes = write(path, [3, 2])
    whole = path.read_bytes()
    rows_at = [0, 3, 5]
    near = {s + d for s in (0, *sizes, len(whole)) for d in range(-24, 25)}
    offsets = near | set(range(0, len(whole), 5))
    for size in sorted(o for o in offsets if 0 <= o < len(whole)):
        cut.write_bytes(whole[:size])
        table, description, truncated = read_stream(cut)
        complete = sum(s <= size for s in sizes) - 1
        assert truncated
        assert table.num_rows == (rows_at[complete] if complete >= 0 else 0)
        assert table["value"].to_pylist() == [row(i)[6] for i in range(table.num_rows)]
        assert bool(description) == (complete >= 0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data())
def test_cut_anywhere_with_garbage_behind(
    tmp_path_factory: pytest.TempPathFactory, batches: list[int], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("s") / "s.arrows"
    sizes = write(path, batches)
    whole = path.read_bytes()
    size = data.draw(st.integers(sizes[0], len(whole) - 1))
    # What a machine that lost power may leave behind.
    tail = data.draw(st.sampled_from([b"", b"\0" * 3, b"\0" * 64]))
    path.write_bytes(whole[:size] + tail)
    table, _, truncated = read_stream(path)
    assert truncated
    complete = sum(batches[: sum(s <= size for s in sizes) - 1])
    assert table.num_rows >= complete
    assert table["value"].to_pylist()[:complete] == [row(i)[6] for i in range(complete)]


def test_not_a_stream(tmp_path: Path) -> None:
    with pytest.raises(WattproofError, match="There is no stream"):
        read_stream(tmp_path / "nothing.arrows")
    other = tmp_path / "other.arrows"
    with pa.ipc.new_stream(other, pa.schema([("x", pa.int8())])):
        pass
    with pytest.raises(WattproofError, match="not a stream"):
        read_stream(other)
    write(tmp_path / "s.arrows", [1])
    with pytest.raises(WattproofError, match="Cannot create"):
        StreamWriter(tmp_path / "s.arrows", DESCRIPTION)


def test_flush_waits_for_age(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path / "s.arrows", DESCRIPTION)
    writer.append([row(0)])
    assert not writer.flush(older_than_s=FLUSH_S)
    assert writer.flush()
    assert not writer.flush()
    writer.close()
    writer.close()


def test_full_disk_keeps_what_was_written(tmp_path: Path) -> None:
    """A torn batch in the middle would hide everything behind it: it is taken back."""
    path = tmp_path / "s.arrows"
    writer = StreamWriter(path, DESCRIPTION)
    writer.append([row(i) for i in range(5)])
    writer.flush()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, limits[1]))
        writer.append([row(i) for i in range(5, 500)])
        with pytest.raises(WattproofError, match="Cannot write"):
            writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    writer.append([row(i) for i in range(5, 8)])
    writer.close()
    table, _, truncated = read_stream(path)
    assert not truncated
    assert table["value"].to_pylist() == [row(i)[6] for i in range(8)]


KILLED = """
import sys, time
from wattproof.recorder.streams import StreamWriter
from wattproof.sources.base import Channel, Description, Status
channels = (Channel("n", "W", "power", "dev"),)
writer = StreamWriter(sys.argv[1], Description({}, channels))
print("ready", flush=True)
n = 0
while True:
    t = time.monotonic_ns()
    writer.append([("n", t, t, t, t, None, float(n + i), Status.OK) for i in range(2000)])
    n += 2000
    writer.flush()
"""


def test_kill_9_while_writing(tmp_path: Path) -> None:
    for attempt in range(2):
        path = tmp_path / f"{attempt}.arrows"
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        while path.stat().st_size < 300_000 * (attempt + 1):
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        table, _, truncated = read_stream(path)
        assert truncated
        assert table.num_rows > 0
        assert table.num_rows % 2000 == 0
        assert table["value"].to_pylist() == list(range(table.num_rows))
