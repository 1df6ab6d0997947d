"""Checks on how others kept their figures: names of devices, energy booked outside of epochs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from wattproof.quality.finding import Finding, finding

MIN_ROWS = 20
FEW_SHARE = 0.05
"""Names in fewer rows are slips of the pen."""

VENDORS = re.compile(r"\b(nvidia|amd|intel|corporation|geforce|\(r\)|\(tm\))\b", re.I)

POINTS = re.compile(r"\d+:[\d.eE+-]+(;\d+:[\d.eE+-]+)+")
"""Energy so far after some epochs: ``0:0.11;1:0.46;36:11.3``."""

OUTSIDE = 0.005
"""A share of the energy before epoch 1 that is not worth a word."""


def device_names(rows: pd.DataFrame) -> Iterator[Finding]:
    """One device under several names: another driver, or another host, in one table."""
    recording = str(rows["recording"].iloc[0])
    trained = rows[rows["kind"] == "run"]
    for (source, channel), part in trained.groupby(["source", "channel"]):
        names = part["device"].value_counts()
        names = names[names >= max(MIN_ROWS, FEW_SHARE * len(part))]
        bare = {" ".join(VENDORS.sub(" ", str(name)).split()).lower() for name in names.index}
        if len(names) < 2 or len(bare) != 1:
            continue
        listed = " and ".join(f"'{name}' ({n} rows)" for name, n in names.items())
        yield finding(
            recording,
            "device_names_differ",
            f"The device of {channel} is called {listed}: the driver changed, or there were two "
            f"hosts.{_difference(part, [str(name) for name in names.index[:2]])}",
            source=str(source),
            channel=str(channel),
            affected=int(names.iloc[1:].sum()),
            of=len(part),
        )


def _difference(part: pd.DataFrame, names: list[str]) -> str:
    """Power under one name against the other, at equal network and budget."""
    known = part.dropna(subset=["network_key", "epochs", "mean_w"])
    known = known[known["device"].isin(names)]
    if known.empty:
        return ""
    cell = known.pivot_table(index=["network_key", "epochs"], columns="device", values="mean_w")
    if list(cell.columns) != sorted(names):
        return ""
    both = np.log((cell[names[0]] / cell[names[1]]).dropna().to_numpy(np.float64))
    if len(both) < MIN_ROWS:
        return ""
    middle, error = float(both.mean()), float(both.std() / np.sqrt(len(both)))
    return (
        f" At equal network and budget its power differs between the two names by "
        f"{100 * middle:+.1f} % ± {196 * error:.1f} % ({len(both)} pairs)."
    )


def read_points(text: str) -> list[tuple[float, float]]:
    """Read ``epoch:energy;epoch:energy``: energy so far after so many epochs, in any unit.

    Returns:
        Pairs of epoch and energy, sorted.

    Raises:
        ValueError: It is none.
    """
    pairs = (part.split(":") for part in text.split(";"))
    return sorted((float(epoch), float(energy)) for epoch, energy in pairs)


def before_epochs(rows: pd.DataFrame) -> Iterator[Finding]:
    """Energy that a tracker books before the first epoch."""
    first = rows[rows["kind"] == "run"].drop_duplicates("row")
    for column in (str(name) for name in first.columns if str(name).startswith("config_")):
        texts = first[column].dropna().astype(str)
        if len(texts) < MIN_ROWS or not texts.str.fullmatch(POINTS.pattern).all():
            continue
        try:
            points = [read_points(text) for text in texts]
        except ValueError:  # it only looks like points
            continue
        start = np.array([dict(found).get(0.0, float("nan")) for found in points])
        end = np.array([found[-1][1] for found in points])
        with np.errstate(divide="ignore", invalid="ignore"):
            share = pd.Series(start / end, index=texts.index)
        budget = first.loc[texts.index, "epochs"].astype("float64")
        by_budget = share.groupby(budget).median().dropna()
        if by_budget.empty or by_budget.max() < OUTSIDE:
            continue
        short, long = by_budget.index.min(), by_budget.index.max()
        words = f"{by_budget[short]:.1%} of it after {short:.0f} epochs (median)"
        if long > short:
            words += f", {by_budget[long]:.1%} after {long:.0f}"
        yield finding(
            str(rows["recording"].iloc[0]),
            "energy_before_epochs",
            f"In column '{column.removeprefix('config_')}' energy is booked before epoch 1: "
            f"{words}.",
            affected=int((share > 0).sum()),
            of=len(share),
            value=100 * float(by_budget.max()),
            unit="%",
        )
