"""The handwritten digits that come with scikit-learn: 1,797 images of 8×8 in 17 grey levels."""

from __future__ import annotations

from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

from wattproof.errors import WattproofError
from wattproof.training.datasets.base import Counts, DataSet, Raw

IMAGES = 1_797


def _file() -> Path | None:
    package = find_spec("sklearn")
    for folder in (package.submodule_search_locations or []) if package else []:
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return path
    return None


def _count(_data_dir: str | None) -> Counts:
    if _file() is None:
        raise WattproofError(
            "Data set 'digits' comes with scikit-learn, which is not installed; "
            "run pip install 'wattproof[train]'."
        )
    return Counts(IMAGES)


def _read(_data_dir: str | None) -> Raw:
    import numpy as np

    # What sklearn.datasets.load_digits reads, without the second that importing it costs each run.
    path = _file()
    assert path is not None, "_count() was passed"
    table = np.loadtxt(path, delimiter=",")
    images = np.rint(table[:, :-1] * 255 / 16).astype(np.uint8)
    return Raw(images.reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64))


# A fifth each for validation and test: 360 images.
DIGITS = DataSet(
    classes=10,
    flip=False,
    count=_count,
    read=_read,
    validation=Fraction(1, 5),
    test=Fraction(1, 5),
)
