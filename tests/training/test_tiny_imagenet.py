"""Tiny ImageNet from its folder, decoded once."""

from __future__ import annotations

import multiprocessing
import shutil

import numpy as np
import pytest

import made_sets
from wattproof.errors import WattproofError
from wattproof.training import datasets
from wattproof.training.datasets import tiny_imagenet


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_sets.tiny_imagenet(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def copy(folder, tmp_path):
    shutil.copytree(folder / "tiny-imagenet-200", tmp_path / "tiny")
    return tmp_path / "tiny"


def load(folder, cache, **changes):
    wanted = {"image_size": 64, "train_images": None} | changes
    return datasets.load("tiny_imagenet", str(folder), cache_dir=str(cache), **wanted)


def test_images_keep_their_labels(folder, tmp_path):
    data = load(folder, tmp_path)
    # 600 training images: a tenth is validation; the official validation part is the test part.
    assert [len(p.labels) for p in (data.train, data.validation, data.test)] == [540, 60, 200]
    assert data.classes == 200
    assert data.train.images.shape == (540, 3, 64, 64)
    for part in (data.train, data.validation, data.test):
        # Red is the class, to within what JPEG loses.
        assert np.abs(part.images[:, 0, 30, 30].astype(int) - part.labels).max() <= 3
    assert np.bincount(np.concatenate([data.train.labels, data.validation.labels])).tolist() == (
        [3] * 200
    )
    assert data.test.labels.tolist() == [(number * 7) % 200 for number in range(200)]


def test_it_is_decoded_once_and_scaled_once_for_each_size(folder, tmp_path, monkeypatch):
    calls = []
    decode = tiny_imagenet._decode

    def counted(paths):
        calls.append(len(paths))
        return decode(paths)

    monkeypatch.setattr(tiny_imagenet, "_decode", counted)
    small = load(folder, tmp_path, image_size=32)
    again = load(folder, tmp_path, image_size=32)
    load(folder, tmp_path, image_size=16)
    assert calls == [800]
    assert small.train.images.shape == (540, 3, 32, 32)
    assert np.array_equal(small.train.images, again.train.images)
    sizes = {path.name.rsplit("-", 1)[1] for path in tmp_path.iterdir() if path.is_dir()}
    assert sizes > {"16", "32"}
    assert len(sizes) == 3


def first_label(arguments):
    folder, cache = arguments
    return int(load(folder, cache, image_size=16).train.labels[0])


def test_processes_that_want_it_at_once_decode_it_once(folder, tmp_path):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        labels = pool.map(first_label, [(folder, tmp_path)] * 3)
    assert len(set(labels)) == 1
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_too_many_images_asked(folder):
    datasets.check("tiny_imagenet", str(folder), 540)
    with pytest.raises(WattproofError, match="at most 540,"):
        datasets.check("tiny_imagenet", str(folder), 541)


@pytest.mark.parametrize(
    "gone",
    ["wnids.txt", "val/val_annotations.txt", "train/n00001007/images", "val/images/val_0.JPEG"],
)
def test_what_is_missing_is_named_at_once(copy, gone):
    path = copy / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(WattproofError, match="does not exist; download") as error:
        datasets.check("tiny_imagenet", str(copy))
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("wnids.txt", "n1\nn2\n", "200 different classes"),
        ("val/val_annotations.txt", "", "empty"),
        ("val/val_annotations.txt", "a.JPEG\tn1\t0\n", "line 1 names no class"),
        ("val/val_annotations.txt", "ä", "cannot be read"),
    ],
)
def test_damaged_lists_are_named_at_once(copy, file, content, why):
    (copy / file).write_text(content, encoding="utf-8")
    with pytest.raises(WattproofError, match=why) as error:
        datasets.check("tiny_imagenet", str(copy))
    assert str(copy / file) in str(error.value)


@pytest.mark.parametrize("size", [0, 100, 300])
def test_a_damaged_image_is_named_and_nothing_is_kept(copy, tmp_path, size):
    path = copy / "train" / "n00001014" / "images" / "n00001014_1.JPEG"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(WattproofError, match="no whole JPEG") as error:
        load(copy, tmp_path / "cache")
    assert str(path) in str(error.value)
    assert not [entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()]


def test_a_missing_test_image_is_named(copy, tmp_path):
    path = copy / "val" / "images" / "val_100.JPEG"
    path.unlink()
    with pytest.raises(WattproofError, match=r"val_100\.JPEG, which does not exist"):
        load(copy, tmp_path / "cache")


def test_a_changed_folder_is_decoded_anew(copy, tmp_path):
    load(copy, tmp_path / "cache")
    name = "n00001000"
    images = copy / "train" / name / "images"
    shutil.copy(images / f"{name}_0.JPEG", images / f"{name}_9.JPEG")
    assert len(load(copy, tmp_path / "cache").train.labels) == 540
    assert len(load(copy, tmp_path / "cache").validation.labels) == 61
