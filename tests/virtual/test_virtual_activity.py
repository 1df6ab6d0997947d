import multiprocessing
import os
import time
from pathlib import Path

import pytest

from wattproof.errors import WattproofError
from wattproof.virtual import HOST_SLOT, ActivityReader, ActivityWriter
from wattproof.virtual.activity import DTYPE, KINDS
from wattproof.virtual.logtail import RECORD, backwards


def test_layouts_of_both_readers_are_the_same():
    assert DTYPE.itemsize == RECORD.size == 32
    offsets = [DTYPE.fields[name][1] for name in DTYPE.names]
    assert offsets == [0, 8, 12, 16, 20, 24, 28]


def test_round_trip_with_clipping(tmp_path: Path):
    path = tmp_path / "activity.bin"
    before = time.monotonic_ns()
    with ActivityWriter(path) as writer:
        writer.publish(0, "train", 0.5, 0.25, 1.5, -0.5)
        writer.publish(HOST_SLOT, "prime", cpu_load=0.75)
    after = time.monotonic_ns()
    records = ActivityReader(path).poll()
    assert records["slot"].tolist() == [0, -1]
    assert [KINDS[k] for k in records["kind"]] == ["train", "prime"]
    assert records["gpu_compute"].tolist() == [0.5, 0.0]
    assert records["cpu_load"].tolist() == [1.0, 0.75]
    assert records["dram_load"].tolist() == [0.0, 0.0]
    assert before <= records["mono_ns"][0] <= records["mono_ns"][1] <= after


def test_no_path_does_nothing_and_bad_activity_is_refused(tmp_path: Path):
    ActivityWriter(None).publish(0, "train", gpu_compute=0.5)
    writer = ActivityWriter(tmp_path / "a")
    with pytest.raises(WattproofError, match="Did you mean 'train'"):
        writer.publish(0, "trian")
    with pytest.raises(WattproofError, match="no number"):
        writer.publish(0, "train", gpu_compute=float("nan"))
    assert (tmp_path / "a").stat().st_size == 0
    with pytest.raises(WattproofError, match="no activity log"):
        ActivityReader(tmp_path / "absent")


def test_partial_last_record_is_left_until_it_is_complete(tmp_path: Path):
    path = tmp_path / "a"
    whole = RECORD.pack(1, 0, 2, 0.5, 0, 0, 0) + RECORD.pack(2, 0, 2, 0.75, 0, 0, 0)
    path.write_bytes(whole[:45])
    reader = ActivityReader(path)
    assert reader.poll()["mono_ns"].tolist() == [1]
    fd = os.open(path, os.O_RDONLY)
    assert [level[0] for level in backwards(fd, 0, 100)] == [1]
    path.write_bytes(whole)
    assert reader.poll()["mono_ns"].tolist() == [2]
    assert len(reader.poll()) == 0
    assert [level[0] for level in backwards(fd, 0, 100)] == [2, 1]
    os.close(fd)


def _write(path: Path, slot: int, count: int) -> None:
    writer = ActivityWriter(path)
    for i in range(count):
        writer.publish(slot, "train", gpu_compute=i / count)


def test_processes_share_a_log_without_tearing_records(tmp_path: Path):
    path, count = tmp_path / "a", 2000
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write, args=(path, s, count)) for s in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    records = ActivityReader(path).poll()
    for slot in (0, 1):
        own = records[records["slot"] == slot]
        assert own["gpu_compute"].astype(float) == pytest.approx([i / count for i in range(count)])
        assert (own["mono_ns"][1:] >= own["mono_ns"][:-1]).all()
