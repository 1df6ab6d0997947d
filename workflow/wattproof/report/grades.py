"""Grades, evidence and thresholds of the scorecard: the words that the rules speak.

The paper gives the principles and no thresholds: the numbers are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wattproof.report.text import known

PEARSON_MET = 0.95
"""(i) An epoch-level Pearson from here on is reliable: the paper's "SMI (corrected)" has 0.95 and
is accepted by its KS test, plain SMI has 0.64 and is not."""

ERROR_MET = 0.05
"""(i) Largest |median relative error| of a reliable source; NVML states ±5 %."""

COVERED_MET = 0.9
"""(i) Share of a setting's epochs that a source must have a value for: a source that agrees only
on the epochs which it happened to sample well ("SMI (corrected)") is reliable on those alone."""

HEALTH_MET = 0.99
"""(i) Share of the expected readings that a source with deadlines must deliver."""

MIN_N = 10
"""Fewer epochs carry no verdict (paper.md, section 12: KS and correlation depend on n)."""

SPAN_MET = 0.6
"""(ii) Share of the range from idle to power limit that epochs must cover."""

SPAN_PARTLY = 0.3
"""(ii) Below it the range is narrow: the paper calls 146 to 305 W of 75 to 800 W (22 %) narrow."""

ESTIMATE_MET = 0.05
"""(iii) Largest held-out error of a run's node energy: below the paper's calibrated 6.6 %."""

ESTIMATE_PARTLY = 0.10
"""(iii) Up to here the calibration at least beats the paper's uncalibrated 10.3 %."""


class Grade(StrEnum):
    """Verdict on a principle."""

    MET = "met"
    PARTLY = "partly"
    NOT_MET = "not met"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Evidence:
    """One fact behind a verdict.

    Attributes:
        sentence: For people.
        value: The figure; None if it is not known.
        unit: Its unit; "1" for a pure number.
        n: How many windows, readings or runs it rests on; None if that has no meaning.
        table: Table that it was read from.
    """

    sentence: str
    value: float | None
    unit: str
    n: int | None
    table: str


@dataclass(frozen=True)
class Verdict:
    """Grade of one principle with its evidence."""

    principle: str
    title: str
    grade: Grade
    summary: str
    evidence: tuple[Evidence, ...]


THRESHOLDS = {
    "pearson_met": PEARSON_MET,
    "error_met": ERROR_MET,
    "covered_met": COVERED_MET,
    "health_met": HEALTH_MET,
    "min_n": MIN_N,
    "span_met": SPAN_MET,
    "span_partly": SPAN_PARTLY,
    "estimate_met": ESTIMATE_MET,
    "estimate_partly": ESTIMATE_PARTLY,
}


def value_of(x: Any) -> float | None:
    """Return a cell as a float; None if it is not known."""
    return float(x) if known(x) else None


def severity(grade: Grade) -> int:
    """Order of the grades that were given, for the worst of several."""
    return (Grade.MET, Grade.PARTLY, Grade.NOT_MET).index(grade)


def sentence_of(text: str) -> str:
    """Return the text as a sentence."""
    return text[:1].upper() + text[1:] + "."
