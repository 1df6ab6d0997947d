"""Findings as tables of a page: what is wrong, and what was inferred."""

from __future__ import annotations

import pandas as pd

from wattproof.clocks.frames import records
from wattproof.report.view import View

INFERRED = ("no_marks", "no_start", "whole_second_start")
"""Flags of what a log does not say, beside those whose names begin with ``inferred_``."""

COLUMNS = ("severity", "flag", "evidence", "what to do", "where")


def _is_inferred(rows: pd.DataFrame) -> pd.Series:
    return rows["flag"].str.startswith("inferred_") | rows["flag"].isin(INFERRED)


def _body(rows: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    found = []
    for row in records(rows):
        names = (row["recording"], row["source"], row["channel"], row["file"])
        where = " ".join(filter(None, names)) or "the whole set"
        found.append((row["severity"], row["flag"], row["evidence"], row["remedy"], where))
    return tuple(found)


def findings(rows: pd.DataFrame) -> View:
    """What is wrong with the data, worst first.

    Args:
        rows: Table ``findings``.
    """
    body = _body(rows[~_is_inferred(rows)])
    return View(
        "findings-table",
        "Findings, worst first; docs/quality.md explains each flag.",
        COLUMNS,
        body,
        "" if body else "Nothing was found.",
        source="findings",
        headers=2,
    )


def inferred(rows: pd.DataFrame) -> View:
    """What the files do not say and was inferred.

    Args:
        rows: Table ``findings``.
    """
    body = _body(rows[_is_inferred(rows)])
    return View(
        "inferred-table",
        "What the files do not say and was inferred; nothing was assumed silently.",
        COLUMNS,
        body,
        "" if body else "Nothing was inferred.",
        source="findings",
        headers=2,
    )
