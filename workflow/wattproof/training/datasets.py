"""Data sets: are they there, and loading them with training, validation and test apart.

The split is fixed: it depends on the data set alone, never on the seed of a run. A new data set is
one `DataSet` in `_DATA_SETS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from wattproof.errors import WattproofError, did_you_mean
from wattproof.training import fashion_mnist

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Images = NDArray[np.float32]
    Labels = NDArray[np.int64]

SPLIT_SEED = 20250515
MIN_EVAL_IMAGES = 250


@dataclass(frozen=True)
class Part:
    """Images of one part of a data set.

    Attributes:
        images: Shape (n, 1, side, side), one grey channel, standardised with the training part.
        labels: Shape (n,), 0-based classes.
    """

    images: Images
    labels: Labels


@dataclass(frozen=True)
class Data:
    """A data set, split. No image is in two parts.

    Attributes:
        train: What is learnt from.
        validation: What configurations are compared on.
        test: Looked at once, at the end of a run.
        classes: Number of classes.
        flip: Whether mirroring an image keeps its class.
    """

    train: Part
    validation: Part
    test: Part
    classes: int
    flip: bool


@dataclass(frozen=True)
class DataSet:
    """Where a data set comes from.

    Attributes:
        classes: Number of classes.
        flip: Whether mirroring an image keeps its class.
        total: Images in all files.
        validation: Images of the validation part.
        test: Images of the test part.
        present: Raises `WattproofError` if the data are not there; cheap.
        read: Returns images (n, height, width), 0 to 1, and labels; the last `test` ones are an
            official test part if `official_test`.
        official_test: Whether the test part is given by the data set.
    """

    classes: int
    flip: bool
    total: int
    validation: int
    test: int
    present: Callable[[str | None], None]
    read: Callable[[str | None], tuple[Images, Labels]]
    official_test: bool

    @property
    def largest_train(self) -> int:
        """Training images that are left beside the validation and test parts."""
        return self.total - self.validation - self.test


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

    Args:
        name: Name of the data set.
        data_dir: Folder of its files; None = where Debian puts them.
        train_images: Training images wanted; None = do not check.

    Raises:
        WattproofError: Unknown data set, missing package or file, or too few images.
    """
    data_set = _get(name)
    data_set.present(data_dir)
    if train_images is not None and not 1 <= train_images <= data_set.largest_train:
        raise WattproofError(
            f"Data set '{name}' cannot give {train_images} training images: validation and test "
            f"are kept apart; set training.train_images to at most {data_set.largest_train}."
        )


def load(
    name: str,
    data_dir: str | None = None,
    image_size: int = 32,
    train_images: int = 1024,
    seed: int = SPLIT_SEED,
) -> Data:
    """Load a data set, scaled and split.

    Validation and test parts are cut to half the training images (at least 250), so that
    evaluating a short training does not take longer than the training.

    Args:
        name: Name of the data set.
        data_dir: Folder of its files; None = where Debian puts them.
        image_size: Height and width to scale the images to, in pixels.
        train_images: Images of the training part.
        seed: Of the split. Not the seed of a run: all runs must share one split.

    Raises:
        WattproofError: See `check`.
    """
    import numpy as np

    check(name, data_dir, train_images)
    data_set = _get(name)
    images, labels = data_set.read(data_dir)
    rng = np.random.default_rng(seed)
    # Test first, validation second: both stay the same whatever the number of training images.
    if data_set.official_test:
        movable = data_set.total - data_set.test
        test, rest = np.arange(movable, data_set.total), rng.permutation(movable)
    else:
        test, rest = np.split(rng.permutation(data_set.total), [data_set.test])
    validation, pool = np.split(rest, [data_set.validation])
    few = max(MIN_EVAL_IMAGES, train_images // 2)
    split = (pool[:train_images], validation[:few], test[:few])
    scaled = [resize(images[chosen], image_size) for chosen in split]
    mean, deviation = scaled[0].mean(), scaled[0].std()
    parts = [
        Part(images=((part - mean) / deviation)[:, None], labels=labels[chosen])
        for part, chosen in zip(scaled, split, strict=True)
    ]
    train, val, held_out = parts
    return Data(train, val, held_out, classes=data_set.classes, flip=data_set.flip)


def resize(images: Images, side: int) -> Images:
    """Scale square images bilinearly, pixel centres aligned as in ``align_corners=False``.

    Args:
        images: Shape (n, height, width).
        side: New height and width, in pixels.

    Returns:
        Shape (n, side, side), float32.
    """
    import numpy as np

    def weights(old: int) -> Images:
        centre = np.clip((np.arange(side) + 0.5) * old / side - 0.5, 0, old - 1)
        low = np.floor(centre).astype(int)
        high = np.minimum(low + 1, old - 1)
        matrix = np.zeros((side, old))
        np.add.at(matrix, (np.arange(side), low), 1 - (centre - low))
        np.add.at(matrix, (np.arange(side), high), centre - low)
        return matrix.astype(np.float32)

    rows, columns = weights(images.shape[1]), weights(images.shape[2])
    scaled: Images = np.einsum("ri,nij,cj->nrc", rows, images, columns, optimize=True)
    return np.ascontiguousarray(scaled, dtype=np.float32)


def _get(name: str) -> DataSet:
    if name not in _DATA_SETS:
        raise WattproofError(
            f"There is no data set '{name}'.{did_you_mean(name, _DATA_SETS)} "
            "Correct the key 'training.dataset'."
        )
    return _DATA_SETS[name]


def _digits_file() -> Path | None:
    package = find_spec("sklearn")
    for folder in (package.submodule_search_locations or []) if package else []:
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return path
    return None


def _digits_present(_data_dir: str | None) -> None:
    if _digits_file() is None:
        raise WattproofError(
            "Data set 'digits' comes with scikit-learn, which is not installed; "
            "run pip install 'wattproof[train]'."
        )


def _read_digits(_data_dir: str | None) -> tuple[Images, Labels]:
    import numpy as np

    # What sklearn.datasets.load_digits reads, without the second that importing it costs each run.
    path = _digits_file()
    assert path is not None, "check() was passed"
    table = np.loadtxt(path, delimiter=",")
    images: Images = np.asarray(table[:, :-1].reshape(-1, 8, 8) / 16.0, dtype=np.float32)
    return images, np.asarray(table[:, -1], dtype=np.int64)


_DATA_SETS = {
    # A fifth each for validation and test: 360 of 1,797.
    "digits": DataSet(
        classes=10,
        flip=False,
        total=1_797,
        validation=360,
        test=360,
        present=_digits_present,
        read=_read_digits,
        official_test=False,
    ),
    "fashion_mnist": DataSet(
        classes=10,
        flip=True,
        total=70_000,
        validation=10_000,
        test=10_000,
        present=fashion_mnist.present,
        read=fashion_mnist.read,
        official_test=True,
    ),
}
