"""CIFAR-10 and CIFAR-100 from pickles that others made: read, and never run."""

from __future__ import annotations

import io
import os
import pickle
import time

import numpy as np
import pytest

import made_sets
from wattproof.errors import WattproofError
from wattproof.training import datasets
from wattproof.training.datasets import cache, cifar, unpickle


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_sets.cifar10(tmp_path_factory.mktemp("cifar"))


def truth():
    """Images and labels as the test wrote them, training batches first."""
    parts = [(np.arange(100) % 10, seed) for seed in range(6)]
    images = np.concatenate([made_sets.coloured(labels, 10, seed) for labels, seed in parts])
    return images, np.concatenate([labels for labels, _ in parts])


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_every_protocol_is_read_as_it_was_written(tmp_path, protocol):
    raw = cifar.CIFAR10.read(str(made_sets.cifar10(tmp_path, protocol=protocol)))
    images, labels = truth()
    assert np.array_equal(raw.images, images)
    assert np.array_equal(raw.labels, labels)
    assert raw.test == 100


def test_a_pickle_of_python_2_is_read(tmp_path):
    """Protocol 2 as cPickle wrote it: byte strings, and NumPy's old names."""
    made_sets.cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    data = made_sets.coloured(np.arange(100) % 10, 10, 77).reshape(100, -1)
    path.write_bytes(python2_batch(data, [k % 10 for k in range(100)]))
    raw = cifar.CIFAR10.read(str(tmp_path))
    assert np.array_equal(raw.images[500:].reshape(100, -1), data)
    assert cifar.CIFAR10.count(str(tmp_path)).test == 100


def python2_batch(data, labels):
    def text(value):
        return b"U" + bytes([len(value)]) + value

    def short(value):
        return b"M" + value.to_bytes(2, "little")

    array = b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\nK\x00\x85" + text(b"b")
    array += b"\x87R(K\x01" + short(data.shape[0]) + short(data.shape[1]) + b"\x86"
    array += b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
    array += b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    raw = data.tobytes()
    array += b"T" + len(raw).to_bytes(4, "little") + raw + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + numbers + b"u."


@pytest.mark.parametrize("where", ["above", "inside"])
def test_the_folder_and_the_one_above_it_are_accepted(folder, where):
    given = folder if where == "above" else folder / "cifar-10-batches-py"
    datasets.check("cifar10", str(given), 450)
    with pytest.raises(WattproofError, match="at most 450,"):
        datasets.check("cifar10", str(given), 451)


def test_parts_are_apart_and_the_test_part_is_the_official_one(folder):
    data = datasets.load("cifar10", str(folder), train_images=None)
    assert [len(p.labels) for p in (data.train, data.validation, data.test)] == [450, 50, 100]
    images, labels = truth()
    assert np.array_equal(data.test.images, images[500:])
    assert np.array_equal(data.test.labels, labels[500:])
    train, validation, official = (
        {image.tobytes() for image in part.images}
        for part in (data.train, data.validation, data.test)
    )
    assert train | validation == {image.tobytes() for image in images[:500]}
    assert not train & validation
    assert not (train | validation) & official


def test_cifar100_has_its_fine_labels(tmp_path):
    data = datasets.load("cifar100", str(made_sets.cifar100(tmp_path)), train_images=None)
    assert data.classes == 100
    assert sorted(set(data.test.labels.tolist())) == list(range(100))


@pytest.mark.parametrize("given", ["folder", "file"])
def test_the_archive_is_read_without_unpacking_it_and_kept(tmp_path, given):
    archive = made_sets.archived(made_sets.cifar10(tmp_path / "data"), "cifar-10-batches-py")
    data_dir = str(archive if given == "file" else archive.parent)
    datasets.check("cifar10", data_dir, 450)
    kept = tmp_path / "cache"
    first = datasets.load("cifar10", data_dir, train_images=None, cache_dir=str(kept))
    assert np.array_equal(first.test.images, truth()[0][500:])
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]
    # From now on the archive itself is not read any more.
    stamp = archive.stat().st_mtime_ns
    archive.write_bytes(bytes(archive.stat().st_size))
    os.utime(archive, ns=(stamp, stamp))
    again = datasets.load("cifar10", data_dir, train_images=None, cache_dir=str(kept))
    assert np.array_equal(again.train.images, first.train.images)
    small = datasets.load("cifar10", data_dir, image_size=16, train_images=50, cache_dir=str(kept))
    assert small.train.images.shape == (50, 3, 16, 16)
    os.utime(archive, ns=(stamp + 1, stamp + 1))
    with pytest.raises(WattproofError, match="damaged"):
        datasets.load("cifar10", data_dir, train_images=None, cache_dir=str(kept))


def test_far_too_many_images_of_an_archive_are_found_at_once(tmp_path):
    archive = made_sets.archived(made_sets.cifar10(tmp_path), "cifar-10-batches-py")
    with pytest.raises(WattproofError, match="at most about"):
        datasets.check("cifar10", str(archive), 600)
    # What slips through the bound is found when it is read.
    datasets.check("cifar10", str(archive), 451)
    with pytest.raises(WattproofError, match="at most 450"):
        datasets.load("cifar10", str(archive), train_images=451, cache_dir=str(tmp_path / "c"))


def test_a_truncated_archive_is_found_at_once(tmp_path):
    archive = made_sets.archived(made_sets.cifar10(tmp_path), "cifar-10-batches-py")
    content = archive.read_bytes()
    for size in (0, 5, len(content) // 2, len(content) - 1):
        archive.write_bytes(content[:size])
        with pytest.raises(WattproofError, match="damaged") as error:
            datasets.check("cifar10", str(tmp_path))
        assert str(archive) in str(error.value)
        assert "download" in str(error.value)
        with pytest.raises(WattproofError, match="damaged"):
            datasets.load("cifar10", str(tmp_path), cache_dir=str(tmp_path / "cache"))
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_an_archive_of_something_else_is_found_when_it_is_read(tmp_path):
    archive = made_sets.archived(made_sets.cifar100(tmp_path), "cifar-100-python")
    with pytest.raises(WattproofError, match="no file 'data_batch_1'"):
        datasets.load("cifar10", str(archive), cache_dir=str(tmp_path / "cache"))


def test_missing_folder_and_missing_batch_name_path_and_remedy(tmp_path):
    with pytest.raises(WattproofError) as error:
        datasets.check("cifar10", str(tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere" / "cifar-10-batches-py") in str(error.value)
    made_sets.cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(WattproofError, match="data_batch_3, which does not exist; download"):
        datasets.check("cifar10", str(tmp_path))


class Evil:
    """Runs a command when it is unpickled by Python's own means."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_that_wants_to_import_something_is_refused_and_not_run(tmp_path, protocol):
    made_sets.cifar10(tmp_path)
    victim = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    content = made_sets.batch(np.arange(100) % 10, 10, 1) | {"extra": Evil(tmp_path / "hit")}
    content = {"extra": content.pop("extra"), **content}
    made_sets.pickled(victim, content, protocol)
    for act in (datasets.check, datasets.load):
        with pytest.raises(WattproofError, match=r"it wants to import (posix|nt)\.system") as error:
            act("cifar10", str(tmp_path))
        assert str(victim) in str(error.value)
    assert not (tmp_path / "hit").exists()
    # The trap is real: Python's own way would run it.
    pickle.loads(victim.read_bytes())
    assert (tmp_path / "hit").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(V1+1\ntR.",
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"cwattproof.errors\nWattproofError\n.",
        b"cnumpy\nload\n.",
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00Pabc\n.",
        b"c_codecs\nencode\n(Vabc\nVzip\ntR.",
    ],
)
def test_nothing_but_arrays_can_be_named(content):
    with pytest.raises(unpickle.UnsafePickleError):
        unpickle.load(io.BytesIO(content))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"data": np.zeros((100, 3071), np.uint8)}, r"shape \(100, 3071\)"),
        ({"data": np.zeros((100, 3072), np.float32)}, "no table of bytes"),
        ({"data": None}, "no table of bytes"),
        ({"labels": [0] * 99}, "no label for each image"),
        ({"labels": [10] * 100}, "from 0 to 9"),
        ({"labels": [-1] * 100}, "from 0 to 9"),
        ({"labels": [0.5] * 100}, "from 0 to 9"),
        ({"labels": None}, "no label for each image"),
    ],
)
def test_wrong_content_is_found_when_it_is_read(tmp_path, change, why):
    made_sets.cifar10(tmp_path)
    victim = tmp_path / "cifar-10-batches-py" / "test_batch"
    made_sets.pickled(victim, made_sets.batch(np.arange(100) % 10, 10, 0) | change)
    with pytest.raises(WattproofError, match=why):
        datasets.load("cifar10", str(tmp_path), train_images=100)


@pytest.mark.parametrize("size", [0, 20, 200, 100_000])
def test_a_batch_cut_short_is_found_at_once(tmp_path, size):
    made_sets.cifar10(tmp_path)
    victim = tmp_path / "cifar-10-batches-py" / "data_batch_5"
    victim.write_bytes(victim.read_bytes()[:size])
    for act in (datasets.check, datasets.load):
        with pytest.raises(WattproofError, match="damaged") as error:
            act("cifar10", str(tmp_path))
        assert str(victim) in str(error.value)


def test_batches_of_full_size_are_checked_without_reading_them(tmp_path):
    """30 MB a batch: reading all would show as time and as bytes."""
    made_sets.cifar10(tmp_path)
    folder = tmp_path / "cifar-10-batches-py"
    big = {"data": np.zeros((10_000, 3072), np.uint8), "labels": [3] * 10_000}
    for name in (*made_sets.BATCHES, "test_batch"):
        made_sets.pickled(folder / name, big, 4)
    begin = time.process_time()
    datasets.check("cifar10", str(tmp_path), 45_000)
    assert time.process_time() - begin < 1.0
    with pytest.raises(WattproofError, match="at most 45000"):
        datasets.check("cifar10", str(tmp_path), 50_000)


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    archive = made_sets.archived(made_sets.cifar10(tmp_path), "cifar-10-batches-py")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WattproofError, match=r"training\.cache_dir"):
        datasets.load("cifar10", str(archive), cache_dir=str(tmp_path / "file"))


def test_a_damaged_cache_is_named(tmp_path):
    archive = made_sets.archived(made_sets.cifar10(tmp_path), "cifar-10-batches-py")
    where = tmp_path / "cache"
    datasets.load("cifar10", str(archive), train_images=50, cache_dir=str(where))
    [entry] = [path for path in where.iterdir() if path.is_dir()]
    (entry / "images.npy").write_bytes(b"junk")
    with pytest.raises(WattproofError, match="delete this folder"):
        datasets.load("cifar10", str(archive), train_images=50, cache_dir=str(where))


def test_the_cache_is_where_the_user_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder(None) == tmp_path / "wattproof" / "datasets"
    assert str(cache.folder("/elsewhere")) == "/elsewhere"


@pytest.mark.parametrize(("protocol", "words"), [(4, "at most 450,"), (2, "at most about ")])
def test_the_number_of_images_is_told_as_exactly_as_it_is_known(tmp_path, protocol, words):
    """Protocol 2 of Python 3 writes bytes as text: the head tells a bound only."""
    made_sets.cifar10(tmp_path, protocol=protocol)
    with pytest.raises(WattproofError, match=words):
        datasets.check("cifar10", str(tmp_path), 5_000)
