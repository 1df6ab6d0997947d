"""MNIST and Fashion-MNIST: IDX files, gzipped or plain (format: Y. LeCun's MNIST page)."""

from __future__ import annotations

import gzip
import io
import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from wattproof.errors import WattproofError
from wattproof.training.datasets.base import Counts, DataSet, Raw

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLASSES = 10
IMAGES, LABELS = 3, 1
"""Dimensions of a file of images (number, height, width) and of labels (number)."""

_NAMES = ("train-images", "train-labels", "t10k-images", "t10k-labels")


@dataclass(frozen=True)
class IdxSet:
    """A data set of four IDX files.

    Attributes:
        name: Of the data set.
        folder: Where they are if the user names no folder; None = the user must.
        remedy: What to do if one is missing or damaged.
    """

    name: str
    folder: Path | None
    remedy: str

    def files(self, data_dir: str | None) -> list[Path]:
        """Find the files: training images and labels, test images and labels.

        Raises:
            WattproofError: No folder is named, or a file is missing.
        """
        folder = self.folder if data_dir is None else Path(data_dir)
        if folder is None:
            raise WattproofError(
                f"Data set '{self.name}' is read from files, but training.data_dir is null; "
                f"{self.remedy}."
            )
        return [self._find(folder, name) for name in _NAMES]

    def _find(self, folder: Path, name: str) -> Path:
        kind = "idx3" if name.endswith("images") else "idx1"
        # Sites that mirror MNIST disagree on the character before "idx".
        usual = f"{name}-{kind}-ubyte"
        for file in (f"{usual}.gz", usual, f"{name}.{kind}-ubyte.gz", f"{name}.{kind}-ubyte"):
            if (folder / file).is_file():
                return folder / file
        raise WattproofError(
            f"Data set '{self.name}' needs {folder / usual}.gz, which does not exist; "
            f"{self.remedy}."
        )

    def damaged(self, path: Path, why: str) -> WattproofError:
        """Return the error of a file that is not what it should be."""
        return WattproofError(
            f"{path} is not a file of data set '{self.name}', or it is damaged ({why}); "
            f"{self.remedy}."
        )

    def count(self, data_dir: str | None) -> Counts:
        """Check the files by their heads and sizes; see `DataSet.count`."""
        shapes = [self._shape(path) for path in self.files(data_dir)]
        for path, images, labels in zip(
            self.files(data_dir)[1::2], shapes[::2], shapes[1::2], strict=True
        ):
            if images[0] != labels[0]:
                raise self.damaged(path, f"{labels[0]} labels for {images[0]} images")
        return Counts(shapes[0][0] + shapes[2][0], test=shapes[2][0])

    def _shape(self, path: Path) -> tuple[int, ...]:
        """Return the shape that a file's head tells, checked against the file's size."""
        dimensions = IMAGES if "images" in path.name else LABELS
        try:
            with _open(path) as stream:
                head = stream.read(4 + 4 * dimensions)
            if head[:4] != bytes([0, 0, 8, dimensions]):
                raise self.damaged(path, "its first bytes are not those of such a file")
            shape = struct.unpack_from(f">{dimensions}I", head, 4)
            size = _size(path)
        except (OSError, EOFError, struct.error) as error:
            raise self.damaged(path, "it cannot be read") from error
        expected = len(head) + math.prod(shape)
        # gzip tells sizes modulo 2^32.
        if size != expected % 2**32 or 0 in shape:
            raise self.damaged(path, f"it holds {size} bytes instead of {expected}")
        return shape

    def read(self, data_dir: str | None) -> Raw:
        """Read the files; see `DataSet.read`."""
        import numpy as np

        files = self.files(data_dir)
        train_x, train_y, test_x, test_y = (self._values(path) for path in files)
        for path, values in ((files[1], train_y), (files[3], test_y)):
            if values.max() >= CLASSES:
                raise self.damaged(path, f"it has a label {values.max()}")
        if train_x.shape[1:] != test_x.shape[1:]:
            raise self.damaged(files[2], "its images have another size than the training images")
        labels = np.concatenate([train_y, test_y]).astype(np.int64)
        return Raw(np.concatenate([train_x, test_x])[:, None], labels, test=len(test_y))

    def _values(self, path: Path) -> NDArray[np.uint8]:
        import numpy as np

        shape = self._shape(path)
        try:
            with _open(path) as stream:
                content = stream.read()
        except (OSError, EOFError) as error:
            raise self.damaged(path, "it ends too early") from error
        except Exception as error:  # zlib.error, and whatever else broken compression raises
            raise self.damaged(path, str(error)) from error
        values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * len(shape))
        if values.size != math.prod(shape):
            raise self.damaged(path, "it ends too early")
        return values.reshape(shape)


def _open(path: Path) -> io.BufferedIOBase:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _size(path: Path) -> int:
    """Bytes that a file holds, modulo 2^32; of a gzipped one as its last four bytes tell."""
    if path.suffix != ".gz":
        return path.stat().st_size % 2**32
    with path.open("rb") as stream:
        stream.seek(-4, io.SEEK_END)
        return int.from_bytes(stream.read(4), "little")


def _data_set(files: IdxSet, flip: bool) -> DataSet:
    return DataSet(
        classes=CLASSES,
        flip=flip,
        count=files.count,
        read=files.read,
        validation=Fraction(1, 6),
    )


FASHION_MNIST = _data_set(
    IdxSet(
        "fashion_mnist",
        Path("/usr/share/datasets/fashion-mnist"),
        "run apt install --reinstall dataset-fashion-mnist, or set training.data_dir to the "
        "folder of its four files",
    ),
    flip=True,
)

MNIST = _data_set(
    IdxSet("mnist", None, "set training.data_dir to the folder of its four IDX files"),
    flip=False,
)
