"""Findings on totals that count their parts more than once, in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from wattproof.quality import factors
from wattproof.quality.factors import Count, Counts
from wattproof.quality.finding import Finding, finding

OFF = 0.02
"""A count this close to 1 is no factor."""

SUPPLY = 1.2
"""Up to here a total may simply be measured at the plug, behind the power supply's losses."""

SUM_OFF = 0.05
"""A total this close to the sum of its parts leaves nothing to ask for."""

MIN_ROWS = 20

Key = tuple[str, str]
"""Source and channel of a figure."""


def told(
    recording: str, key: Key, names: list[Key], rows: pd.DataFrame
) -> tuple[list[Finding], float]:
    """Find by how much a total counts each of its parts.

    Args:
        recording: Name of the set.
        key: The total.
        names: Its parts. Only parts of the total's own source are looked at: what two instruments
            say of each other is their agreement.
        rows: Table ``reported`` of the set.

    Returns:
        A finding ``constant_factor``; or a note ``factor_not_told`` where the total is not the sum
        of its parts and the parts cannot tell why; or nothing. Then the share of the total that is
        left after the factor times all parts; NaN without a factor.
    """
    own = [name for name in names if name[0] == key[0]]
    table = _powers(rows, [key, *own])
    if not own or table is None or len(table) < MIN_ROWS:
        return [], float("nan")
    total, parts = table.total_w, table.parts_w
    if abs(float(np.median(total / parts.sum(axis=1))) - 1) < SUM_OFF:
        return [], float("nan")
    found = factors.count(total, parts, table.strata, table.networks)
    labels = [channel for _, channel in own]
    if isinstance(found, str):
        return [_not_told(recording, key, len(table), found)], float("nan")
    clear = [part for part in found.parts if part.told]
    if not clear:
        why = "; ".join(
            f"{name} varies by {part.varies:.1%} at equal budget, which gives {part}"
            for name, part in zip(labels, found.parts, strict=True)
        )
        return [_not_told(recording, key, len(table), why)], float("nan")
    off = [part for part in clear if part.off(OFF)]
    if not off:
        return [], float("nan")
    best = min(off, key=lambda part: part.high - part.low)
    which = found.parts.index(best)
    left, share = "", float("nan")
    # A part that counts once is in no factor, so nothing can be taken off all of them.
    if len(off) == len(clear):
        left_w = total - best.times * parts.sum(axis=1)
        share = float(np.median(left_w / total))
        left = _left(best, left_w, share)
    sentences = [
        _counted(key[1], labels, found),
        _repeats(labels[which], which, table),
        _known(best),
        left,
    ]
    row = finding(
        recording,
        "constant_factor",
        " ".join(filter(None, sentences)),
        severity="warning",
        source=key[0],
        channel=key[1],
        value=best.times,
        unit="1",
        affected=len(table),
        of=int(rows["row"].nunique()),
    )
    return [row], share


@dataclass(frozen=True)
class _Rows:
    """Mean powers side by side.

    Attributes:
        total_w: Of the total; n.
        parts_w: Of its parts; n × p.
        strata: Rows of equal budget; n.
        networks: Rows of one network; n. Where it is unknown each row is its own.
        repeats: Rows of one network and budget; n.
    """

    total_w: factors.Floats
    parts_w: factors.Floats
    strata: factors.Ints
    networks: factors.Ints
    repeats: factors.Ints

    def __len__(self) -> int:
        return len(self.total_w)


def _powers(rows: pd.DataFrame, keys: list[Key]) -> _Rows | None:
    """Mean powers of the rows that tell all figures; None where one figure is never told."""
    energy = rows.pivot_table(index="row", columns=["source", "channel"], values="energy_j")
    if any(key not in energy.columns for key in keys):
        return None
    first = rows.drop_duplicates("row").set_index("row").reindex(energy.index)
    seconds = first["duration_s"].to_numpy(np.float64, na_value=np.nan)
    joules = energy[keys].to_numpy(np.float64)
    good = (seconds > 0) & (joules > 0).all(axis=1)
    watts, first = joules[good] / seconds[good, None], first[good]
    if not len(watts):
        return None
    budget = first["epochs"].to_numpy(np.float64, na_value=np.nan)
    alone = pd.Series([f"row {row}" for row in first.index], index=first.index)
    networks = pd.factorize(first["network_key"].fillna(alone))[0]
    both = np.column_stack([networks, np.nan_to_num(budget, nan=-1.0)])
    repeats = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1)
    return _Rows(
        watts[:, 0],
        watts[:, 1:],
        factors.strata_of(budget),
        networks.astype(np.int64),
        repeats.astype(np.int64),
    )


def _counted(total: str, labels: list[str], found: Counts) -> str:
    each = [
        f"each joule of {name} is counted {part} times"
        if part.told or part.low > 1
        else f"how often {name} is counted cannot be told ({part})"
        for name, part in zip(labels, found.parts, strict=True)
    ]
    text = ", and ".join(each)
    return (
        f"{text[0].upper()}{text[1:]} in {total} ({found.rows} rows of {found.clusters} networks, "
        "at equal budget; 95 % intervals)."
    )


def _repeats(label: str, which: int, table: _Rows) -> str:
    """The same from repeats of one training alone, where nothing but chance differs."""
    if len(table) - len(np.unique(table.repeats)) < MIN_ROWS:
        return ""
    again = factors.count(table.total_w, table.parts_w, table.strata, table.networks, table.repeats)
    if isinstance(again, str):
        return ""
    return f"Between repeats of one training alone it is {again.parts[which]} for {label}."


def _known(best: Count) -> str:
    some = factors.fitting(best.low, best.high)
    if some:
        listed = " and ".join(f"{value:g} ({source})" for value, source in some)
        plural = "PUEs" if len(some) > 1 else "PUE"
        return f"The {plural} of a data centre that fits: {listed}."
    if 1 < best.times < SUPPLY:
        return "No known PUE fits; losses of a power supply would."
    return "No known PUE fits."


def _left(best: Count, left_w: np.ndarray, share: float) -> str:
    if abs(share) < SUM_OFF:
        return f"{best.times:.2f} times all parts is the whole total."
    low, middle, high = np.quantile(left_w, [0.25, 0.5, 0.75])
    return (
        f"Beside {best.times:.2f} times all parts, {middle:.0f} W ({low:.0f} to {high:.0f} W in "
        f"half of the rows), {share:.0%} of the total, are in it: further devices, or what the "
        "parts leave out."
    )


def _not_told(recording: str, key: Key, rows: int, why: str) -> Finding:
    return finding(
        recording,
        "factor_not_told",
        f"{key[1]} is not the sum of its parts, but whether a factor is in it cannot be told from "
        f"{rows} rows: {why}.",
        source=key[0],
        channel=key[1],
        affected=rows,
        of=rows,
    )
