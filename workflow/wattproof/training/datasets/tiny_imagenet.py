"""Tiny ImageNet: the folder that the archive of the Stanford course unpacks to, 64×64 JPEG files.

The files of its own test part have no labels; its official validation part is therefore the test
part here, and validation is cut from the training images.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from wattproof.errors import WattproofError
from wattproof.training.datasets.base import Counts, DataSet, Raw
from wattproof.training.datasets.cache import file_mark

if TYPE_CHECKING:
    from wattproof.training.datasets.base import Images

NAME, FOLDER = "tiny_imagenet", "tiny-imagenet-200"
CLASSES = 200
CHANNELS = 3
SUFFIX = ".JPEG"
THREADS = 8
"""At most so many decode side by side; Pillow lets others work meanwhile."""

REMEDY = (
    "download and unzip http://cs231n.stanford.edu/tiny-imagenet-200.zip and set "
    "training.data_dir to its folder"
)


def _find(data_dir: str | None) -> Path:
    """Return the folder with wnids.txt."""
    if data_dir is None:
        raise WattproofError(
            f"Data set '{NAME}' is read from files, but training.data_dir is null; {REMEDY}."
        )
    inner = Path(data_dir) / FOLDER
    folder = inner if inner.is_dir() else Path(data_dir)
    if not (folder / "wnids.txt").is_file():
        raise _missing(folder / "wnids.txt")
    return folder


def _missing(path: Path) -> WattproofError:
    return WattproofError(f"Data set '{NAME}' needs {path}, which does not exist; {REMEDY}.")


def _damaged(path: Path, why: str) -> WattproofError:
    return WattproofError(f"{path} of data set '{NAME}' is damaged: {why}; {REMEDY}.")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split("\n")
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, "it cannot be read") from error


def _labels(folder: Path) -> dict[str, int]:
    """Return the label of each class's name, in the order of wnids.txt."""
    names = [line.strip() for line in _lines(folder / "wnids.txt") if line.strip()]
    if len(set(names)) != len(names) or len(names) != CLASSES:
        raise _damaged(folder / "wnids.txt", f"it does not name {CLASSES} different classes")
    return {name: label for label, name in enumerate(names)}


def _train_files(folder: Path, labels: dict[str, int]) -> list[tuple[Path, int]]:
    found: list[tuple[Path, int]] = []
    for name, label in labels.items():
        images = folder / "train" / name / "images"
        try:
            files = sorted(entry for entry in os.listdir(images) if entry.endswith(SUFFIX))
        except OSError as error:
            raise _missing(images) from error
        if not files:
            raise _missing(images / f"*{SUFFIX}")
        found += [(images / file, label) for file in files]
    return found


def _test_files(folder: Path, labels: dict[str, int]) -> list[tuple[Path, int]]:
    table = folder / "val" / "val_annotations.txt"
    found: list[tuple[Path, int]] = []
    for number, line in enumerate(_lines(table), start=1):
        if not line.strip():
            continue
        file, _, rest = line.partition("\t")
        name = rest.partition("\t")[0].strip()
        if name not in labels:
            raise _damaged(table, f"line {number} names no class of wnids.txt")
        found.append((folder / "val" / "images" / file, labels[name]))
    if not found:
        raise _damaged(table, "it is empty")
    return found


def _count(data_dir: str | None) -> Counts:
    if find_spec("PIL") is None:
        raise WattproofError(
            f"Data set '{NAME}' is decoded by the package Pillow, which is not installed; run "
            "pip install pillow."
        )
    folder = _find(data_dir)
    labels = _labels(folder)
    test = _test_files(folder, labels)
    for path, _ in (test[0], test[-1]):
        if not path.is_file():
            raise _missing(path)
    return Counts(len(_train_files(folder, labels)) + len(test), test=len(test))


def _read(data_dir: str | None) -> Raw:
    import numpy as np

    folder = _find(data_dir)
    labels = _labels(folder)
    test = _test_files(folder, labels)
    files = _train_files(folder, labels) + test
    numbers = np.array([label for _, label in files], dtype=np.int64)
    return Raw(_decode([path for path, _ in files]), numbers, test=len(test))


def _decode(paths: Sequence[Path]) -> Images:
    """Decode JPEG files of one size, the first one's.

    Returns:
        Shape (n, 3, side, side).
    """
    import numpy as np
    from PIL import Image

    def pixels(path: Path) -> Images:
        try:
            with Image.open(path) as image:
                # Some of the images are grey.
                return np.asarray(image.convert("RGB"), dtype=np.uint8)
        except FileNotFoundError as error:
            raise _missing(path) from error
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise _damaged(path, "it is no whole JPEG file") from error

    first = pixels(paths[0]).shape
    if first[0] != first[1]:
        raise _damaged(paths[0], "it is not square")
    images = np.empty((len(paths), CHANNELS, *first[:2]), np.uint8)

    def fill(place: int) -> None:
        found = pixels(paths[place])
        if found.shape != first:
            raise _damaged(paths[place], "it has another size than the first image")
        images[place] = found.transpose(2, 0, 1)

    with ThreadPoolExecutor(min(THREADS, len(os.sched_getaffinity(0)))) as pool:
        for _ in pool.map(fill, range(len(paths)), chunksize=64):
            pass
    return images


def _fingerprint(data_dir: str | None) -> str | None:
    folder = _find(data_dir)
    # Adding or removing a file changes its folder's time; nobody edits one of 100,000 in place.
    told = [folder / "wnids.txt", folder / "val" / "val_annotations.txt", folder / "val" / "images"]
    return file_mark(*told, *(folder / "train" / name / "images" for name in _labels(folder)))


TINY_IMAGENET = DataSet(
    classes=CLASSES,
    flip=True,
    count=_count,
    read=_read,
    validation=Fraction(1, 10),
    fingerprint=_fingerprint,
)
