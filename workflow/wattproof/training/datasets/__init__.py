"""Data sets: are they there, and loading them with training, validation and test apart.

The split is fixed: it depends on the data set alone, never on the seed of a run. A new data set is
one file that makes a `DataSet`, and one line in `_DATA_SETS`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wattproof.errors import WattproofError, did_you_mean
from wattproof.training.datasets import cache, cifar, digits, idx, pixels, tiny_imagenet
from wattproof.training.datasets.base import Counts, Data, DataSet, Part, Raw

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Data", "DataSet", "Part", "check", "classes", "load", "names"]

SPLIT_SEED = 20250515
MIN_EVAL_IMAGES = 250

_DATA_SETS = {
    "cifar10": cifar.CIFAR10,
    "cifar100": cifar.CIFAR100,
    "digits": digits.DIGITS,
    "fashion_mnist": idx.FASHION_MNIST,
    "mnist": idx.MNIST,
    "tiny_imagenet": tiny_imagenet.TINY_IMAGENET,
}


def names() -> list[str]:
    """Names of all data sets."""
    return sorted(_DATA_SETS)


def classes(name: str) -> int:
    """Number of classes of a data set.

    Raises:
        WattproofError: There is no such data set.
    """
    return _get(name).classes


def check(name: str, data_dir: str | None = None, train_images: int | None = None) -> None:
    """Check that a data set is there and large enough, without loading it.

    Looks at names, sizes and heads of files only; damage deep inside is found by `load`.

    Args:
        name: Name of the data set.
        data_dir: Folder of its files; None = where Debian puts them.
        train_images: Training images wanted; None = all there are.

    Raises:
        WattproofError: Unknown data set, missing package, missing or damaged file, or too few
            images.
    """
    data_set = _get(name)
    _check_size(name, data_set, data_set.count(data_dir), train_images)


def load(
    name: str,
    data_dir: str | None = None,
    image_size: int = 32,
    train_images: int | None = 1024,
    seed: int = SPLIT_SEED,
    cache_dir: str | None = None,
) -> Data:
    """Load a data set, scaled and split.

    Validation and test parts are cut to half the training images (at least 250), so that
    evaluating a short training does not take longer than the training.

    Args:
        name: Name of the data set.
        data_dir: Folder of its files; None = where Debian puts them.
        image_size: Height and width to scale the images to, in pixels.
        train_images: Images of the training part; None = all that validation and test leave.
        seed: Of the split. Not the seed of a run: all runs must share one split.
        cache_dir: Where data sets that take long to decode are kept; None = the user's cache.

    Raises:
        WattproofError: See `check`; also damage that only reading shows.
    """
    data_set = _get(name)
    raw = _raw(name, data_set, data_dir, image_size, cache.folder(cache_dir))
    counts = Counts(len(raw.labels), raw.test)
    _check_size(name, data_set, counts, train_images)
    wanted = data_set.largest_train(counts) if train_images is None else train_images
    few = max(MIN_EVAL_IMAGES, wanted // 2)
    train, validation, test = (
        Part(pixels.resize(raw.images[chosen], image_size), raw.labels[chosen])
        for chosen in _split(data_set, counts, wanted, few, seed)
    )
    mean, deviation = pixels.statistics(train.images)
    return Data(train, validation, test, data_set.classes, data_set.flip, mean, deviation)


def _raw(name: str, data_set: DataSet, data_dir: str | None, side: int, where: Path) -> Raw:
    """Read all images; those that take long to decode once for all, and once for each size."""
    mark = data_set.fingerprint(data_dir)
    if mark is None:
        return data_set.read(data_dir)
    whole = cache.kept(where, f"{name}-{mark}", lambda: data_set.read(data_dir))
    if whole.images.shape[-1] == side:
        return whole
    return cache.kept(
        where,
        f"{name}-{mark}-{side}",
        lambda: replace(whole, images=pixels.resize(whole.images, side)),
    )


def _split(
    data_set: DataSet, counts: Counts, train_images: int, few: int, seed: int
) -> tuple[NDArray[np.int64], ...]:
    """Return which images are training, validation and test.

    Test first, validation second: both stay the same whatever the number of training images.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    validation_images, test_images = data_set.held_out(counts)
    if counts.test:
        movable = counts.total - counts.test
        test, rest = np.arange(movable, counts.total), rng.permutation(movable)
    else:
        test, rest = np.split(rng.permutation(counts.total), [test_images])
    validation, pool = np.split(rest, [validation_images])
    return pool[:train_images], validation[:few], test[:few]


def _check_size(name: str, data_set: DataSet, counts: Counts, train_images: int | None) -> None:
    most = data_set.largest_train(counts)
    if train_images is not None and not 1 <= train_images <= most:
        about = "" if counts.exact else "about "
        raise WattproofError(
            f"Data set '{name}' cannot give {train_images} training images: validation and test "
            f"are kept apart; set training.train_images to at most {about}{most}, or to null for "
            "all."
        )


def _get(name: str) -> DataSet:
    if name not in _DATA_SETS:
        raise WattproofError(
            f"There is no data set '{name}'.{did_you_mean(name, _DATA_SETS)} "
            "Correct the key 'training.dataset'."
        )
    return _DATA_SETS[name]
