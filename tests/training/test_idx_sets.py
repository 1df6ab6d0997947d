"""MNIST and Fashion-MNIST: IDX files, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import made_sets
from wattproof.errors import WattproofError
from wattproof.training import datasets
from wattproof.training.datasets import idx

FILES = [
    f"{part}-{kind}-ubyte.gz"
    for part in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_sets.idx_set(tmp_path_factory.mktemp("idx"), 6000, 1000)


def test_parts(folder):
    datasets.check("fashion_mnist", str(folder), 5_000)
    with pytest.raises(WattproofError, match="at most 5000"):
        datasets.check("fashion_mnist", str(folder), 5_001)
    data = datasets.load("fashion_mnist", str(folder), image_size=8, train_images=1600)
    assert [len(p.labels) for p in (data.train, data.validation, data.test)] == [1600, 800, 800]
    # The test part is the official one: its images are numbers 6,000 …, in order.
    assert data.test.labels.tolist() == [n % 10 for n in range(6_000, 6_800)]
    assert np.array_equal(data.test.images[:, 0, 3, 4], np.arange(6_000, 6_800) % 251)


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_images_keep_their_labels_gzipped_and_plain(tmp_path, suffix):
    made_sets.idx_set(tmp_path, 70, 20, suffix)
    raw = idx.MNIST.read(str(tmp_path))
    assert raw.images.shape == (90, 1, 28, 28)
    assert np.array_equal(raw.images[:, 0, 3, 4], np.arange(90))
    assert np.array_equal(raw.labels, np.arange(90) % 10)
    assert raw.test == 20


def test_names_with_a_dot_are_found(tmp_path):
    made_sets.idx_set(tmp_path, 70, 20, "")
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    datasets.check("mnist", str(tmp_path), 50)


def test_missing_files_name_path_and_remedy(tmp_path):
    with pytest.raises(WattproofError) as error:
        datasets.check("fashion_mnist", str(tmp_path))
    message = str(error.value)
    assert str(tmp_path / "train-images-idx3-ubyte.gz") in message
    assert "apt install" in message
    assert "training.data_dir" in message


DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "head only": lambda content: content[:10],
    "empty": lambda content: b"",
    "text": lambda content: b"not gzip",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("victim", [FILES[0], FILES[3]])
def test_damage_is_found_before_anything_is_read(folder, tmp_path, damage, victim):
    for name in FILES:
        content = (folder / name).read_bytes()
        (tmp_path / name).write_bytes(DAMAGES[damage](content) if name == victim else content)
    with pytest.raises(WattproofError, match="damaged") as error:
        datasets.check("mnist", str(tmp_path))
    assert str(tmp_path / victim) in str(error.value)


def test_wrong_magic_and_wrong_counts_are_found(tmp_path):
    made_sets.idx_set(tmp_path, 60, 20)
    made_sets.write_idx(tmp_path / FILES[1], np.zeros(59, np.uint8))
    with pytest.raises(WattproofError, match="59 labels for 60 images"):
        datasets.check("mnist", str(tmp_path))
    made_sets.write_idx(tmp_path / FILES[1], np.zeros((60, 1), np.uint8))
    with pytest.raises(WattproofError, match="first bytes"):
        datasets.check("mnist", str(tmp_path))


def test_a_plain_file_cut_short_is_found(tmp_path):
    made_sets.idx_set(tmp_path, 60, 20, "")
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WattproofError, match="holds 47055 bytes instead of 47056"):
        datasets.check("mnist", str(tmp_path))


def test_damage_inside_is_found_when_it_is_read(folder, tmp_path):
    for name in FILES:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    path = tmp_path / FILES[0]
    content = bytearray(path.read_bytes())
    content[5000:9000] = bytes(4000)
    path.write_bytes(content)
    datasets.check("mnist", str(tmp_path))
    with pytest.raises(WattproofError, match="damaged"):
        datasets.load("mnist", str(tmp_path), train_images=100)


def test_labels_out_of_range_are_found(tmp_path):
    made_sets.idx_set(tmp_path, 60, 20)
    made_sets.write_idx(tmp_path / FILES[3], np.full(20, 10, np.uint8))
    with pytest.raises(WattproofError, match="label 10"):
        datasets.load("mnist", str(tmp_path), train_images=10)


def test_null_is_the_folder_of_the_debian_package(monkeypatch):
    """As package 0.0~git20200523.55506a9-1 lists its files."""
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    expected = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz, which does not exist"
    with pytest.raises(WattproofError, match=expected):
        datasets.check("fashion_mnist")
