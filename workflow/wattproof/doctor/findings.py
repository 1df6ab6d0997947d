"""What the doctor says of one thing: a grade, a sentence, a remedy, and numbers for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

ENERGY_SOURCES = ("meter", "nvml", "smi", "rapl")
"""Instruments that measure power or energy; the others give context or estimates."""


class Grade(StrEnum):
    """How well something works."""

    OK = "ok"
    LIMITED = "limited"
    """It works, but less well than it could; or only a part of it does."""
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        subject: What it is about: an instrument (``nvml``, ``smi``, ``rapl``, ``meter``,
            ``codecarbon``, ``host``) or ``clock``, ``cpu``, ``disk``, ``site``.
        item: Which part of it; stable, for machines: ``driver``, ``gpu0``, ``speed`` …
        grade: How well it works.
        sentence: What was found.
        remedy: What to do about it; empty if nothing.
        facts: Numbers and names behind the sentence.
    """

    subject: str
    item: str
    grade: Grade
    sentence: str
    remedy: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def ok(
    subject: str, item: str, sentence: str, remedy: str = "", facts: dict[str, Any] | None = None
) -> Finding:
    """Make a finding of something that works."""
    return Finding(subject, item, Grade.OK, sentence, remedy, facts or {})


def limited(
    subject: str, item: str, sentence: str, remedy: str = "", facts: dict[str, Any] | None = None
) -> Finding:
    """Make a finding of something that works in part."""
    return Finding(subject, item, Grade.LIMITED, sentence, remedy, facts or {})


def missing(
    subject: str, item: str, sentence: str, remedy: str = "", facts: dict[str, Any] | None = None
) -> Finding:
    """Make a finding of something that is not there or does not work."""
    return Finding(subject, item, Grade.MISSING, sentence, remedy, facts or {})


def percent(share: float, decimals: int = 1) -> str:
    """Return a share as a percentage for people."""
    return f"{share * 100:.{decimals}f} %"


def works(subject: str, findings: Sequence[Finding]) -> bool:
    """Whether an instrument can be recorded: its findings say so, and its main one is there.

    The first finding of an instrument says whether it is there at all; later ones are details.
    """
    mine = [finding for finding in findings if finding.subject == subject]
    return bool(mine) and mine[0].grade is not Grade.MISSING
