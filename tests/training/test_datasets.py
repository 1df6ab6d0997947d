"""Data sets: presence, sizes, splits, scaling."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import torch

from wattproof.errors import WattproofError
from wattproof.training import datasets, fashion_mnist

FILES = {
    "train-images-idx3-ubyte.gz": (60_000, 28, 28),
    "train-labels-idx1-ubyte.gz": (60_000,),
    "t10k-images-idx3-ubyte.gz": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte.gz": (10_000,),
}


def write_idx(path, values):
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(struct.pack(">HBB", 0, 8, values.ndim))
        stream.write(struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes())


@pytest.fixture(scope="module")
def fashion_dir(tmp_path_factory):
    """Files of the right form: image n is grey n mod 251 all over, its label n mod 10."""
    folder = tmp_path_factory.mktemp("fashion")
    for name, shape in FILES.items():
        number = np.arange(shape[0]) + (60_000 if name.startswith("t10k") else 0)
        values = number % 251 if len(shape) == 3 else number % 10
        write_idx(
            folder / name,
            np.broadcast_to(
                values.astype(np.uint8).reshape(-1, *[1] * (len(shape) - 1)), shape
            ).copy(),
        )
    return folder


def rows(part):
    return {image.tobytes() for image in part.images}


def test_digits_parts_are_apart_and_leave_a_fifth_each():
    data = datasets.load("digits", train_images=1024)
    counts = [len(part.labels) for part in (data.train, data.validation, data.test)]
    assert counts == [1024, 360, 360]
    assert min(counts[1:]) >= 0.2 * 1797
    # Digits has no two equal images, so equal bytes would be one image in two parts.
    assert len(rows(data.train) | rows(data.validation) | rows(data.test)) == sum(counts)
    assert data.train.images.shape == (1024, 1, 32, 32)
    assert data.train.images.dtype == np.float32
    assert data.train.images.mean() == pytest.approx(0, abs=1e-4)
    assert data.train.images.std() == pytest.approx(1, abs=1e-4)


def test_digits_keep_their_labels():
    from sklearn.datasets import load_digits

    truth = load_digits()
    by_image = {
        image.tobytes(): label for image, label in zip(truth.images, truth.target, strict=True)
    }
    data = datasets.load("digits", image_size=8, train_images=300)
    for part in (data.train, data.validation, data.test):
        # At 8×8 nothing is scaled: undo the standardisation exactly by rank of grey levels.
        levels = np.unique(data.train.images)
        assert len(levels) == 17
        grey = np.abs(part.images[..., None] - levels).argmin(-1)[:, 0].astype(float)
        assert [by_image[image.tobytes()] for image in grey] == part.labels.tolist()


def test_the_split_does_not_move_with_the_number_of_training_images():
    few = datasets.load("digits", image_size=8, train_images=500)
    many = datasets.load("digits", image_size=8, train_images=1077)
    assert few.test.labels.tolist() == many.test.labels[: len(few.test.labels)].tolist()
    assert few.train.labels.tolist() == many.train.labels[:500].tolist()
    assert len(few.validation.labels) == 250


def test_largest_number_of_training_images():
    datasets.check("digits", None, 1077)
    with pytest.raises(WattproofError, match="at most 1077"):
        datasets.check("digits", None, 1078)


def test_unknown_data_set():
    with pytest.raises(WattproofError, match="Did you mean 'digits'"):
        datasets.check("digit")


def test_missing_package(monkeypatch):
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    with pytest.raises(WattproofError, match="pip install"):
        datasets.check("digits")


def test_missing_files_name_path_and_remedy(tmp_path):
    with pytest.raises(WattproofError) as error:
        datasets.check("fashion_mnist", str(tmp_path))
    message = str(error.value)
    assert str(tmp_path / "train-images-idx3-ubyte.gz") in message
    assert "apt install dataset-fashion-mnist" in message
    assert "training.data_dir" in message


def test_fashion_mnist_parts(fashion_dir):
    datasets.check("fashion_mnist", str(fashion_dir), 50_000)
    with pytest.raises(WattproofError, match="at most 50000"):
        datasets.check("fashion_mnist", str(fashion_dir), 50_001)
    data = datasets.load("fashion_mnist", str(fashion_dir), image_size=8, train_images=2000)
    assert [len(p.labels) for p in (data.train, data.validation, data.test)] == [2000, 1000, 1000]
    # The test part is the official one: its images are numbers 60,000 …, in order.
    assert data.test.labels.tolist() == [n % 10 for n in range(60_000, 61_000)]
    assert data.flip


def test_fashion_mnist_images_keep_their_labels(fashion_dir):
    images, labels = fashion_mnist.read(str(fashion_dir))
    assert images.shape == (70_000, 28, 28)
    number = np.arange(70_000)
    assert np.array_equal(np.round(images[:, 3, 4] * 255), number % 251)
    assert np.array_equal(labels, number % 10)


@pytest.mark.parametrize("damage", ["cut", "other", "text"])
def test_damaged_files_are_found(fashion_dir, tmp_path, damage):
    for name in FILES:
        (tmp_path / name).symlink_to(fashion_dir / name)
    victim = tmp_path / "t10k-labels-idx1-ubyte.gz"
    victim.unlink()
    if damage == "cut":
        victim.write_bytes((fashion_dir / victim.name).read_bytes()[:10])
    elif damage == "other":
        write_idx(victim, np.zeros(3, dtype=np.uint8))
    else:
        victim.write_text("not gzip")
    with pytest.raises(WattproofError, match="damaged"):
        datasets.check("fashion_mnist", str(tmp_path))


def test_idx_with_missing_values_is_damaged(tmp_path):
    with gzip.open(tmp_path / "x.gz", "wb") as stream:
        stream.write(struct.pack(">HBBI", 0, 8, 1, 5) + b"abc")
    with pytest.raises(WattproofError, match="damaged"):
        fashion_mnist.read_idx(tmp_path / "x.gz")


@pytest.mark.parametrize(("old", "new"), [(8, 32), (28, 32), (8, 8), (28, 20), (5, 13)])
def test_resize_is_torchs_bilinear(old, new):
    images = np.random.default_rng(0).random((4, old, old)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(images)[:, None], size=new, mode="bilinear", align_corners=False
    )
    assert datasets.resize(images, new) == pytest.approx(expected[:, 0].numpy(), abs=1e-5)
