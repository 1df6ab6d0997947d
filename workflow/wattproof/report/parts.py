"""Parts of the report's inputs that are no tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from wattproof.report.style import FigureInfo


@dataclass(frozen=True)
class Published:
    """A benchmark as the report shows it.

    Attributes:
        points: A configuration a row: ``kind`` (measured | predicted), ``accuracy``, ``energy_j``,
            ``inference_j_per_image`` (NaN where unknown), ``front`` (of accuracy and energy) and
            ``front_inference`` (of all three).
        scope: Whose energy it is.
        facts: Its column in the comparison with other benchmarks; texts by aspect.
    """

    points: pd.DataFrame = field(default_factory=pd.DataFrame)
    scope: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Search:
    """The search demonstration.

    Attributes:
        sentences: What it showed.
        figures: Its figures, the main one first.
    """

    sentences: tuple[str, ...] = ()
    figures: tuple[FigureInfo, ...] = ()
