"""Sums over the pixels of many images without a copy of all of them in floating point."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wattproof.training.datasets.base import Images

LEVELS = 256
CHUNK_BYTES = 8 * 1024 * 1024
"""So many bytes of images are held as numbers at a time."""


def chunks(images: Images) -> Iterator[slice]:
    """Yield slices that cut images into pieces of about `CHUNK_BYTES`."""
    size = max(1, CHUNK_BYTES // max(1, images[:1].nbytes))
    for first in range(0, len(images), size):
        yield slice(first, first + size)


def resize(images: Images, side: int) -> Images:
    """Scale images bilinearly, pixel centres aligned as in ``align_corners=False``.

    Args:
        images: Shape (n, channels, height, width).
        side: New height and width, in pixels.

    Returns:
        Shape (n, channels, side, side), rounded to bytes; `images` itself if nothing changes.
    """
    import numpy as np

    if images.shape[2:] == (side, side):
        return images
    rows, columns = _weights(images.shape[2], side), _weights(images.shape[3], side)
    scaled = np.empty((*images.shape[:2], side, side), np.uint8)
    for piece in chunks(images):
        # Two products with small matrices: first along the columns, then along the rows.
        wide = images[piece].astype(np.float32) @ columns.T
        scaled[piece] = np.rint(rows @ wide)
    return scaled


def _weights(old: int, new: int) -> NDArray[np.float32]:
    """Return the matrix (new, old) that scales a line of pixels."""
    import numpy as np

    centre = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.floor(centre).astype(int)
    high = np.minimum(low + 1, old - 1)
    matrix = np.zeros((new, old))
    np.add.at(matrix, (np.arange(new), low), 1 - (centre - low))
    np.add.at(matrix, (np.arange(new), high), centre - low)
    return matrix.astype(np.float32)


def statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, exactly.

    Args:
        images: Shape (n, channels, side, side), n at least 1.
    """
    import numpy as np

    level = np.arange(LEVELS)
    found: list[tuple[float, float]] = []
    for channel in range(images.shape[1]):
        count = np.zeros(LEVELS, np.int64)
        for piece in chunks(images):
            count += np.bincount(images[piece, channel].ravel(), minlength=LEVELS)
        total = int(count.sum())
        mean = float(count @ level) / total
        variance = float(count @ (level - mean) ** 2) / total
        # One colour all over carries nothing: it becomes 0, not a division by 0.
        found.append((mean, float(np.sqrt(variance)) or 1.0))
    means, deviations = zip(*found, strict=True)
    return means, deviations
