"""Published figures against what the logs give: table ``published``, and the findings from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from wattproof.errors import WattproofError
from wattproof.ingest import rules
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.mlperf_published import MAX_EDGE_NS, compare, read_published_j
from wattproof.ingest.series import finding

__all__ = ["check", "compare", "findings", "read_published_j"]

TOLERANCE = 1e-4
"""A published energy is reproduced if it comes out this well (relative)."""

IDLE_SHARE = 0.01
"""Official figures that differ by more from the integral of the run hold something else as well."""


def _value(row: dict[str, Any], name: str) -> float | None:
    value = row.get(name)
    return None if value is None or pd.isna(value) else float(value)


def _reproduced(log: Log, row: dict[str, Any], tolerance: float) -> list[dict[str, Any]]:
    """Finding: whether a published figure comes out of the logs."""
    unit = "W" if _value(row, "published_w") is not None else "J"
    key = unit.lower()
    figure, ours = _value(row, f"published_{key}"), _value(row, f"recomputed_{key}")
    if figure is None:
        return []
    if not ours:
        return [
            finding(
                log,
                "published_not_checked",
                f"{row['benchmark']}, {row['channel']}: the readings cover too little of the run, "
                "by the stamps of their log, to compare the published figure.",
                "Give a log of the whole run; if its clock is another one, say its time zone.",
                severity="note",
                channel=row["channel"],
            )
        ]
    scale, shown = (1.0, "W") if unit == "W" else (1e-3, "kJ")
    if unit == "J" and abs(figure) < 1.0:
        scale, shown = 1e6, "µJ"
    off = (figure - ours) / figure
    same = abs(off) <= tolerance
    what = f"{row['benchmark']}, {row['channel']}"
    if same:
        evidence = (
            f"{what}: the rule {row['rule']} gives {scale * ours:.3f} {shown}, published are "
            f"{scale * figure:.3f} {shown} ({off:+.4%})."
        )
        remedy = "None."
    else:
        evidence = (
            f"{what}: published are {scale * figure:.3f} {shown}, the rule {row['rule']} gives "
            f"{scale * ours:.3f} {shown}: a factor of {figure / ours:.4f} that no file explains."
        )
        remedy = "Ask the submitter for the factor or the log that the figure was made from."
    return [
        finding(
            log,
            "published_reproduced" if same else "published_not_reproduced",
            evidence,
            remedy,
            severity="note" if same else "error",
            channel=row["channel"],
            value=100 * off,
            unit="%",
            affected=int(row["runs"]),
        )
    ]


def _idle(log: Log, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Finding: whether the official rule averages something else than the run in."""
    ours, integrated = _value(row, "recomputed_j"), _value(row, "integrated_j")
    if not ours or integrated is None or abs(integrated / ours - 1) <= IDLE_SHARE:
        return []
    more = integrated / ours - 1
    direction = "more" if more > 0 else "less"
    why = "idle time" if more > 0 else "time of higher power"
    return [
        finding(
            log,
            "idle_in_published_figure",
            f"{row['benchmark']}, {row['channel']}: integrated inside the run windows the energy "
            f"is {integrated / 1e3:.1f} kJ, {abs(more):.1%} {direction} than by the official rule "
            f"({ours / 1e3:.1f} kJ), whose mean power is that of the whole log and so contains "
            f"{why} before and after the run.",
            "Compare runs by the energy inside their windows (integrated_j), not by the figure.",
            severity="warning",
            principle="holistic",
            channel=row["channel"],
            value=100 * more,
            unit="%",
            affected=int(row["runs"]),
        )
    ]


def findings(
    log: Log, compared: pd.DataFrame, tolerance: float = TOLERANCE
) -> list[dict[str, Any]]:
    """Rows of table ``findings`` that follow from table ``published``.

    Args:
        log: Where the figures are from.
        compared: Table ``published``.
        tolerance: Largest relative difference of a figure that is reproduced.
    """
    rows: list[dict[str, Any]] = []
    for keys in compared.to_dict("records"):
        row = {str(key): value for key, value in keys.items()}
        rows += _reproduced(log, row, tolerance) + _idle(log, row)
    rows += [
        finding(
            log,
            "published_not_checked",
            reason,
            "Give the whole set of runs, or leave the figure out.",
            severity="note",
        )
        for reason in compared.attrs.get("refused", ())
    ]
    return rows


def _window(data: Ingested, run_id: str | None, where: str) -> dict[str, Any]:
    """The run window that a figure is of."""
    rows = [w for w in data.windows.to_pylist() if w["level"] in ("run", "load")]
    found = [w for w in rows if run_id is None or w["run_id"] == run_id]
    if len(found) != 1:
        known = ", ".join(sorted({w["run_id"] for w in rows})) or "none"
        what = f"{len(found)} windows of the run '{run_id}'" if run_id else f"{len(found)} runs"
        raise WattproofError(
            f"{where}: there are {what}, so it is not clear what the figure is of; give one of the "
            f"runs as run_id ({known})."
        )
    return found[0]


def _series(
    data: Ingested, figure: dict[str, Any], where: str
) -> tuple[str, np.ndarray, np.ndarray]:
    """Kind, stamps and good values of a figure's channel, by the log's own stamps."""
    channels = data.channels.to_pylist()
    found = [c for c in channels if c["channel"] == figure["channel"]]
    if len(found) != 1:
        known = ", ".join(sorted({c["channel"] for c in channels})) or "none"
        raise WattproofError(
            f"{where}: {len(found)} logs of the set have the channel '{figure['channel']}'; "
            f"name one that only one has ({known})."
        )
    samples = data.samples
    mine = samples.filter(
        pc.and_(
            pc.equal(samples.column("source"), found[0]["source"]),
            pc.equal(samples.column("channel"), figure["channel"]),
        )
    )
    mine = mine.filter(pc.is_valid(mine.column("value")))
    t_ns, value = (mine.column(name).to_numpy() for name in ("end_ns", "value"))
    return found[0]["kind"], t_ns, value


def check(
    data: Ingested, figures: tuple[dict[str, Any], ...], name: str, file: str
) -> list[dict[str, Any]]:
    """Rows of table ``published`` of the figures that a manifest gives.

    ``mean_power`` (``mlperf_inference``) is the plain mean of the readings between begin and end,
    as MLPerf Inference takes it; ``energy`` the integral between them, or the difference of a
    counter. Stamps are taken as the log has them: a rule of that kind knows nothing of clocks.

    Args:
        data: The set's tables.
        figures: Key ``published`` of the set.
        name: The set's name.
        file: The manifest, for messages.

    Raises:
        WattproofError: A figure names no run, channel or value; one sentence.
    """
    rows = []
    for number, figure in enumerate(figures):
        where = f"{file}: sets.{name}.published[{number}]"
        window = _window(data, figure["run_id"], where)
        kind, t_ns, value = _series(data, figure, where)
        begin, end = window["start_ns"], window["end_ns"]
        mean_w = energy_j = None
        energy = figure["rule"] == "energy"
        if figure.get("energy_j" if energy else "mean_w") is None:
            raise WattproofError(
                f"{where} has the rule '{figure['rule']}', so it needs "
                f"{'energy_j' if energy else 'mean_w'}."
            )
        if kind == "power":
            energy_j = rules.trapezoid_j(t_ns, value, begin, end, max_edge_ns=MAX_EDGE_NS)
            inside = (t_ns > begin) & (t_ns < end) & (value > 0)
            if not energy and inside.any():
                mean_w, _ = rules.mlperf_inference_mean_w(t_ns, value, begin, end)
        elif kind == "energy" and energy and len(t_ns):
            if t_ns[0] <= begin and t_ns[-1] >= end:
                edges = np.interp([0, end - begin], (t_ns - begin).astype(np.float64), value)
                energy_j = float(edges[1] - edges[0])
        else:
            raise WattproofError(
                f"{where}: the channel '{figure['channel']}' is of kind {kind}, from which the "
                f"rule '{figure['rule']}' makes no figure."
            )
        published, ours = (figure["energy_j"], energy_j) if energy else (figure["mean_w"], mean_w)
        rows.append(
            {
                "dataset": name,
                "benchmark": window["run_id"],
                "channel": figure["channel"],
                "runs": 1,
                "rule": figure["rule"],
                "published_j": published if energy else None,
                "recomputed_j": energy_j if energy else None,
                "integrated_j": energy_j,
                "relative_difference": None if ours is None else (published - ours) / published,
                "published_w": None if energy else published,
                "recomputed_w": mean_w,
            }
        )
    return rows
