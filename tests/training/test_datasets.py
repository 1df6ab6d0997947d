"""Data sets: presence, sizes, splits, scaling, standardisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import made_sets
from wattproof.errors import WattproofError
from wattproof.offline import learning
from wattproof.training import datasets
from wattproof.training.datasets import pixels


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
    assert data.train.images.dtype == np.uint8


def test_digits_keep_their_labels():
    from sklearn.datasets import load_digits

    truth = load_digits()
    by_image = {
        image.tobytes(): label for image, label in zip(truth.images, truth.target, strict=True)
    }
    data = datasets.load("digits", image_size=8, train_images=300)
    for part in (data.train, data.validation, data.test):
        # At 8×8 nothing is scaled: 17 grey levels, spread over all bytes.
        grey = np.round(part.images[:, 0] * 16.0 / 255)
        assert [by_image[image.tobytes()] for image in grey] == part.labels.tolist()


def test_the_split_does_not_move_with_the_number_of_training_images():
    few = datasets.load("digits", image_size=8, train_images=500)
    many = datasets.load("digits", image_size=8, train_images=1077)
    assert few.test.labels.tolist() == many.test.labels[: len(few.test.labels)].tolist()
    assert few.train.labels.tolist() == many.train.labels[:500].tolist()
    assert len(few.validation.labels) == 250


def test_null_means_all_training_images_that_are_left():
    data = datasets.load("digits", image_size=8, train_images=None)
    assert len(data.train.labels) == 1077
    assert len(data.validation.labels) == len(data.test.labels) == 360


def test_largest_number_of_training_images():
    datasets.check("digits", None, 1077)
    with pytest.raises(WattproofError, match="at most 1077"):
        datasets.check("digits", None, 1078)


def test_unknown_data_set():
    with pytest.raises(WattproofError, match="Did you mean 'digits'"):
        datasets.check("digit")


def test_missing_package(monkeypatch):
    from wattproof.training.datasets import digits

    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    with pytest.raises(WattproofError, match="pip install"):
        datasets.check("digits")


def test_missing_decoder(monkeypatch):
    from wattproof.training.datasets import tiny_imagenet

    monkeypatch.setattr(tiny_imagenet, "find_spec", lambda name: None)
    with pytest.raises(WattproofError, match="pip install pillow"):
        datasets.check("tiny_imagenet")


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100", "tiny_imagenet"])
def test_sets_without_a_usual_place_need_a_folder(name):
    with pytest.raises(WattproofError, match=r"training\.data_dir is null") as error:
        datasets.check(name)
    assert "\n" not in str(error.value)
    assert "set" in str(error.value).split(";")[1]


def test_offline_trainings_know_the_same_sets():
    assert sorted(learning.TASKS) == datasets.names()
    for name in datasets.names():
        assert learning.task(name).classes == datasets.classes(name)


def test_only_sets_that_keep_their_class_are_mirrored(tmp_path):
    made_sets.idx_set(tmp_path / "idx", 60, 12)
    made_sets.cifar10(tmp_path)
    mirrored = {
        name: datasets.load(name, folder, image_size=8, train_images=40).flip
        for name, folder in (
            ("digits", None),
            ("mnist", str(tmp_path / "idx")),
            ("fashion_mnist", str(tmp_path / "idx")),
            ("cifar10", str(tmp_path)),
        )
    }
    assert mirrored == {"digits": False, "mnist": False, "fashion_mnist": True, "cifar10": True}


def test_channels_are_standardised_by_the_training_part(tmp_path):
    data = datasets.load("cifar10", str(made_sets.cifar10(tmp_path)), train_images=300)
    assert data.train.images.shape == (300, 3, 32, 32)
    for channel in range(3):
        values = data.train.images[:, channel].astype(np.float64)
        assert data.mean[channel] == pytest.approx(values.mean())
        assert data.deviation[channel] == pytest.approx(values.std())


def test_one_colour_all_over_has_a_deviation_to_divide_by():
    assert pixels.statistics(np.full((3, 1, 4, 4), 7, np.uint8)) == ((7.0,), (1.0,))


def test_statistics_and_scaling_of_many_images_go_by_pieces(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 8, 8)).astype(np.uint8)
    whole = pixels.statistics(images), pixels.resize(images, 5)
    monkeypatch.setattr(pixels, "CHUNK_BYTES", 7 * images[0].nbytes)
    assert len(list(pixels.chunks(images))) == 8
    assert pixels.statistics(images) == whole[0]
    assert np.array_equal(pixels.resize(images, 5), whole[1])


@pytest.mark.parametrize(("old", "new"), [(8, 32), (28, 32), (8, 8), (28, 20), (5, 13), (64, 32)])
def test_resize_is_torchs_bilinear(old, new):
    images = np.random.default_rng(0).integers(0, 256, (4, 2, old, old)).astype(np.uint8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(images).float(), size=new, mode="bilinear", align_corners=False
    )
    assert pixels.resize(images, new) == pytest.approx(expected.numpy(), abs=0.51)
