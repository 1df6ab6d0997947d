"""What a data set is to the rest of the training room, and what a file of this folder provides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Images = NDArray[np.uint8]
    Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Images of one part of a data set.

    Attributes:
        images: Shape (n, channels, side, side), bytes as they were read: a quarter of the memory
            of numbers. Who feeds them standardises them.
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
        mean: Of the training part's pixels, for each channel, in units of `Part.images`.
        deviation: Their standard deviation.
    """

    train: Part
    validation: Part
    test: Part
    classes: int
    flip: bool
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many images the files hold.

    Attributes:
        total: All of them.
        test: Of these, in the test part that the data set itself names; 0 = it names none.
        exact: False if these are bounds, somewhat too large.
    """

    total: int
    test: int = 0
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Raw:
    """Images as the files hold them; those of the data set's own test part come last.

    Attributes:
        images: Shape (n, channels, side, side).
        labels: Shape (n,), 0-based classes.
        test: Images of the data set's own test part; 0 = it names none.
    """

    images: Images
    labels: Labels
    test: int = 0


@dataclass(frozen=True)
class DataSet:
    """How to find and read a data set; one file of this folder makes one or several.

    Attributes:
        classes: Number of classes.
        flip: Whether mirroring an image keeps its class.
        count: Checks in well under a second that the files are there and look right, and counts
            their images. Given the folder that the user named, or None. Raises `WattproofError`:
            one sentence with path and remedy.
        read: Reads all of them; raises `WattproofError` as well.
        validation: Share of the images outside the data set's own test part that is kept for
            validation, rounded up.
        test: Share that is kept for the test, where the data set names no test part.
        fingerprint: Of the files, where reading them takes so long that the result is kept (see
            `cache`); None = read them each time.
    """

    classes: int
    flip: bool
    count: Callable[[str | None], Counts]
    read: Callable[[str | None], Raw]
    validation: Fraction
    test: Fraction = Fraction(0)
    fingerprint: Callable[[str | None], str | None] = lambda _data_dir: None

    def held_out(self, counts: Counts) -> tuple[int, int]:
        """Images of the validation and of the test part."""
        test = counts.test or ceil(self.test * counts.total)
        return ceil(self.validation * (counts.total - counts.test)), test

    def largest_train(self, counts: Counts) -> int:
        """Training images that are left beside the validation and test parts."""
        return counts.total - sum(self.held_out(counts))
