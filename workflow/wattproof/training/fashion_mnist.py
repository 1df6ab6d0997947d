"""Fashion-MNIST from its gzipped IDX files (Debian package dataset-fashion-mnist)."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from wattproof.errors import WattproofError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEBIAN_FOLDER = Path("/usr/share/dataset-fashion-mnist")

_IDX_FILES = {
    "train-images-idx3-ubyte.gz": (2051, 60_000),
    "train-labels-idx1-ubyte.gz": (2049, 60_000),
    "t10k-images-idx3-ubyte.gz": (2051, 10_000),
    "t10k-labels-idx1-ubyte.gz": (2049, 10_000),
}
"""Files of Fashion-MNIST with the magic number of their format and their number of entries."""


def _folder(data_dir: str | None) -> Path:
    return DEBIAN_FOLDER if data_dir is None else Path(data_dir)


def present(data_dir: str | None) -> None:
    """Check the four files by their heads.

    Args:
        data_dir: Their folder; None = where Debian puts them.

    Raises:
        WattproofError: A file is missing or damaged.
    """
    for file, (magic, count) in _IDX_FILES.items():
        path = _folder(data_dir) / file
        if not path.is_file():
            raise WattproofError(
                f"Data set 'fashion_mnist' needs {path}, which does not exist; run "
                "apt install dataset-fashion-mnist, or set training.data_dir to its folder."
            )
        try:
            with gzip.open(path) as stream:
                head = struct.unpack(">II", stream.read(8))
        except (OSError, EOFError, struct.error) as error:
            raise _damaged(path) from error
        if head != (magic, count):
            raise _damaged(path)


def _damaged(path: Path) -> WattproofError:
    return WattproofError(
        f"{path} is not a file of Fashion-MNIST, or it is damaged; run "
        "apt install --reinstall dataset-fashion-mnist, or set training.data_dir to another folder."
    )


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of bytes (format: Y. LeCun's MNIST page).

    Returns:
        Images (n, height, width) or labels (n,).

    Raises:
        WattproofError: The file is damaged.
    """
    import numpy as np

    try:
        with gzip.open(path) as stream:
            content = stream.read()
        dimensions = content[3]
        shape = struct.unpack_from(f">{dimensions}I", content, 4)
    except (OSError, EOFError, IndexError, struct.error) as error:
        raise _damaged(path) from error
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions)
    if content[:3] != b"\0\0\x08" or values.size != math.prod(shape):
        raise _damaged(path)
    return values.reshape(shape)


def read(data_dir: str | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return images (70000, 28, 28), 0 to 1, and labels; the last 10,000 are the test part."""
    import numpy as np

    train_x, train_y, test_x, test_y = (read_idx(_folder(data_dir) / f) for f in _IDX_FILES)
    images = np.concatenate([train_x, test_x]).astype(np.float32) / np.float32(255)
    return images, np.concatenate([train_y, test_y]).astype(np.int64)
