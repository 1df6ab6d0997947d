"""How much of each GPU foreign runs use: power against idle and limit, and utilisation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from wattproof.report.audit_inputs import AuditInputs
from wattproof.report.text import fixed, known, number, percent, whole
from wattproof.report.view import View

LIMIT = "config_power_limit"

UTILISATION = r"^metric_.*util"
"""Columns of figures that tell a utilisation, as the manifest's `metric` named them."""

LEVELS = ("run", "epoch", "load")

GPU = r"gpu\d*\.power|gpu\.total"


def _by_rows(reported: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    listed = reported[reported["channel"].astype(str).str.fullmatch(GPU)]
    columns = [c for c in listed.columns if pd.Series([c]).str.contains(UTILISATION).iloc[0]]
    for (name, source, channel), part in listed.groupby(["recording", "source", "channel"]):
        used = part[(part["kind"] != "idle") & part["mean_w"].notna()]
        if used.empty:
            continue
        idle = float(part.loc[part["kind"] == "idle", "mean_w"].mean())
        limit = (
            float(pd.to_numeric(part[LIMIT], errors="coerce").max()) if LIMIT in part else np.nan
        )
        shown = [c for c in columns if used[c].notna().any()] or [""]
        for column in shown:
            both = used[used[column].notna()] if column else used.head(0)
            yield _line(
                (str(name), f"{channel} ({source})", "row"),
                used["mean_w"],
                idle,
                limit,
                column.removeprefix("metric_"),
                both[column] if column else pd.Series(dtype=float),
                both["mean_w"],
            )


def _by_windows(energy: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    listed = energy[
        energy["channel"].astype(str).str.match(r"gpu\d+\.power") & energy["mean_w"].notna()
    ]
    keys = ["recording", "source", "channel"]
    for (name, source, channel), part in listed.groupby(keys):
        idle = float(part.loc[part["kind"] == "idle", "mean_w"].mean())
        for level, rows in part[part["kind"] != "idle"].groupby("level"):
            if level in LEVELS:
                nothing = pd.Series(dtype=float)
                head = (str(name), f"{channel} ({source})", str(level))
                yield _line(head, rows["mean_w"], idle, np.nan, "", nothing, nothing)


def _line(
    head: tuple[str, ...],
    power: pd.Series,
    idle: float,
    limit: float,
    name: str,
    utilisation: pd.Series,
    beside: pd.Series,
) -> tuple[str, ...]:
    low, high = float(power.min()), float(power.max())
    span = (high - low) / (limit - idle) if known(limit) and known(idle) else np.nan
    r = np.nan
    if len(utilisation) > 2 and utilisation.std() > 0 and beside.std() > 0:
        r = float(np.corrcoef(utilisation.astype(float), beside)[0, 1])
    reach = (
        f"{number(float(utilisation.min()))} … {number(float(utilisation.max()))}"
        if len(utilisation)
        else "not in the data"
    )
    return (
        *head,
        whole(len(power)),
        f"{number(low)} … {number(high, 3, 'W')}",
        number(float(power.median()), 3, "W"),
        number(idle, 3, "W"),
        number(limit, 3, "W"),
        percent(span, 0),
        name or "none",
        reach,
        f"{fixed(r)} (n = {len(utilisation)})" if known(r) else "not known",
    )


def usage(inputs: AuditInputs) -> View:
    """The range of GPU power and utilisation that runs reach.

    Args:
        inputs: The audit's tables.
    """
    body = [*_by_rows(inputs.reported), *_by_windows(inputs.energy)]
    return View(
        "usage",
        "Mean power of runs against idle and limit: span = (largest − smallest) / (limit − idle); "
        "r is Pearson's, of power and utilisation.",
        (
            "set",
            "channel",
            "per",
            "n",
            "power",
            "median",
            "idle",
            "limit",
            "span",
            "utilisation",
            "reach (%)",
            "r",
        ),
        tuple(body),
        "" if body else "No power of single GPUs is in these sets.",
        source="reported" if len(inputs.reported) else "energy",
        headers=2,
    )
