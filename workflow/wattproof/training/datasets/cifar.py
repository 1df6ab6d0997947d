"""CIFAR-10 and CIFAR-100, "python version": pickled batches, in a folder or as the archive."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from wattproof.errors import WattproofError
from wattproof.training.datasets import unpickle
from wattproof.training.datasets.base import Counts, DataSet, Raw
from wattproof.training.datasets.cache import file_mark

if TYPE_CHECKING:
    from wattproof.training.datasets.base import Images, Labels

SIDE, CHANNELS = 32, 3
IMAGE_BYTES = CHANNELS * SIDE * SIDE
TEST_SHARE = 6
"""One image in six is in the test file, of both sets."""

TAR_BLOCK = 512
"""Archives are whole blocks long."""


@dataclass(frozen=True)
class CifarSet:
    """One of the two sets.

    Attributes:
        name: Of the data set.
        folder: Name of the folder that the archive unpacks to.
        archive: Name of the archive.
        train: Files of training images.
        test: File of the official test images.
        label_key: Under which the labels of a file are.
        classes: Number of classes.
    """

    name: str
    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    label_key: str
    classes: int

    @property
    def files(self) -> tuple[str, ...]:
        """All files, the test file last."""
        return (*self.train, self.test)

    @property
    def remedy(self) -> str:
        """What to do if something is missing or damaged."""
        return (
            f"download {self.archive} (python version) from "
            "https://www.cs.toronto.edu/~kriz/cifar.html and set training.data_dir to its folder"
        )

    def damaged(self, path: Path | str, why: str) -> WattproofError:
        """Return the error of a file that is not what it should be."""
        return WattproofError(
            f"{path} is not a file of data set '{self.name}', or it is damaged: {why}; "
            f"{self.remedy}."
        )

    def find(self, data_dir: str | None) -> Path:
        """Return the folder of the batches, or the archive.

        Raises:
            WattproofError: There is neither, or a file is missing in the folder.
        """
        if data_dir is None:
            raise WattproofError(
                f"Data set '{self.name}' is read from files, but training.data_dir is null; "
                f"{self.remedy}."
            )
        place = Path(data_dir)
        if place.is_file():
            return place
        for folder in (place / self.folder, place):
            there = [(folder / file).is_file() for file in self.files]
            if any(there):
                if not all(there):
                    raise self._missing(folder / self.files[there.index(False)])
                return folder
        if (place / self.archive).is_file():
            return place / self.archive
        raise self._missing(place / self.folder)

    def _missing(self, path: Path) -> WattproofError:
        return WattproofError(
            f"Data set '{self.name}' needs {path}, which does not exist; {self.remedy}."
        )

    def count(self, data_dir: str | None) -> Counts:
        """Look at the heads of the files; see `DataSet.count`."""
        place = self.find(data_dir)
        if place.is_file():
            return self._count_archive(place)
        sizes = [self._bulk(place / file) for file in self.files]
        counts = [size // IMAGE_BYTES for size in sizes]
        # Python 3 can write bytes as text, which is longer.
        exact = not any(size % IMAGE_BYTES for size in sizes)
        return Counts(sum(counts), test=counts[-1], exact=exact)

    def _bulk(self, path: Path) -> int:
        """Return the bytes of a batch's images, found near the head of its file."""
        try:
            with path.open("rb") as stream:
                size = unpickle.longest(stream)
        except unpickle.UnsafePickleError as error:
            raise self.damaged(path, str(error)) from error
        except OSError as error:
            raise self.damaged(path, error.strerror or "it cannot be read") from error
        if size is None or size < IMAGE_BYTES:
            raise self.damaged(path, "it holds no images of 32×32 in colour")
        return size

    def _count_archive(self, path: Path) -> Counts:
        """Bound the number of images by the size that the archive tells of itself."""
        try:
            with tarfile.open(path, "r:gz") as archive:
                archive.next()
            with path.open("rb") as stream:
                stream.seek(-4, io.SEEK_END)
                size = int.from_bytes(stream.read(4), "little")
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise self.damaged(path, "it is no gzipped tar archive") from error
        if size % TAR_BLOCK or size < TAR_BLOCK:
            raise self.damaged(path, "it ends too early")
        total = size // IMAGE_BYTES
        return Counts(total, test=total // TEST_SHARE, exact=False)

    def read(self, data_dir: str | None) -> Raw:
        """Read all batches; see `DataSet.read`."""
        import numpy as np

        place = self.find(data_dir)
        found = dict(self._archived(place) if place.is_file() else self._in_folder(place))
        lacking = [file for file in self.files if file not in found]
        if lacking:
            raise self.damaged(place, f"it has no file '{lacking[0]}'")
        images, labels = zip(*(found.pop(file) for file in self.files), strict=True)
        return Raw(np.concatenate(images), np.concatenate(labels), test=len(labels[-1]))

    def _in_folder(self, folder: Path) -> Iterator[tuple[str, tuple[Images, Labels]]]:
        for file in self.files:
            with (folder / file).open("rb") as stream:
                yield file, self._batch(stream, folder / file)

    def _archived(self, path: Path) -> Iterator[tuple[str, tuple[Images, Labels]]]:
        """Read members in the order of the archive; nothing is unpacked to disk."""
        try:
            with gzip.open(path) as content, tarfile.open(fileobj=content) as archive:
                for member in archive:
                    file = Path(member.name).name
                    stream = archive.extractfile(member) if file in self.files else None
                    if stream is not None:
                        whole = io.BytesIO(stream.read())
                        yield file, self._batch(whole, f"{path}:{member.name}")
                # Only a reader that goes to the very end checks the archive's own sum.
                while content.read(TAR_BLOCK * 2048):
                    pass
        except (OSError, EOFError, tarfile.TarError, zlib.error, gzip.BadGzipFile) as error:
            raise self.damaged(path, f"it cannot be unpacked ({error})") from error

    def _batch(self, stream: IO[bytes], path: Path | str) -> tuple[Images, Labels]:
        """Read one pickled batch and check its shapes and labels."""
        import numpy as np

        try:
            batch = unpickle.load(stream)
        except unpickle.UnsafePickleError as error:
            raise self.damaged(path, str(error)) from error
        data, given = (_entry(batch, key) for key in ("data", self.label_key))
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2:
            raise self.damaged(path, "its entry 'data' is no table of bytes")
        if data.shape[1] != IMAGE_BYTES or not len(data):
            raise self.damaged(path, f"its entry 'data' has the shape {data.shape}")
        if not isinstance(given, list | np.ndarray) or len(given) != len(data):
            raise self.damaged(path, f"its entry '{self.label_key}' is no label for each image")
        labels = np.asarray(given)
        if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= self.classes:
            raise self.damaged(
                path, f"its labels are no whole numbers from 0 to {self.classes - 1}"
            )
        images = np.ascontiguousarray(data).reshape(-1, CHANNELS, SIDE, SIDE)
        return images, labels.astype(np.int64)

    def fingerprint(self, data_dir: str | None) -> str | None:
        """Unpacking the archive takes seconds, so its content is kept; see `DataSet`."""
        place = self.find(data_dir)
        return file_mark(place) if place.is_file() else None


def _entry(batch: Any, key: str) -> Any:
    """Take an entry whose key Python 2 wrote as bytes and Python 3 as text."""
    if not isinstance(batch, dict):
        return None
    return batch.get(key.encode(), batch.get(key))


def _data_set(files: CifarSet) -> DataSet:
    return DataSet(
        classes=files.classes,
        flip=True,
        count=files.count,
        read=files.read,
        validation=Fraction(1, 10),
        fingerprint=files.fingerprint,
    )


CIFAR10 = _data_set(
    CifarSet(
        name="cifar10",
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        train=tuple(f"data_batch_{number}" for number in range(1, 6)),
        test="test_batch",
        label_key="labels",
        classes=10,
    )
)

CIFAR100 = _data_set(
    CifarSet(
        name="cifar100",
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        train=("train",),
        test="test",
        label_key="fine_labels",
        classes=100,
    )
)
