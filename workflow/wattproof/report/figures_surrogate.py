"""Figures of the surrogate: predicted against measured, coverage of intervals, growth."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd

from wattproof.report.inputs import ReportInputs
from wattproof.report.select import floats
from wattproof.report.style import COLOURS, MAX_VECTOR_POINTS, Drawing, absent, cloud, new, say
from wattproof.report.text import count, listed
from wattproof.report.views_surrogate import (
    PREFIXES,
    chosen,
    label,
    stratum_name,
    unit_of,
)
from wattproof.surrogate.coverage import LEFT_OUT

FIRST = ("energy_j", "time_s", "accuracy", "inference_j_per_image")
"""Targets that are drawn; others stand in the tables."""


def _drawn(table: pd.DataFrame) -> list[str]:
    known = set(table["target"].astype(str))
    return [target for target in FIRST if target in known]


def axis_of(target: str, values: Any) -> tuple[float, str]:
    """Factor and label of an axis: percent for shares, else the unit with a fitting prefix."""
    unit = unit_of(target)
    if not unit:
        return 100.0, f"{label(target)} (%)"
    size = float(np.nanmedian(np.abs(floats(values))))
    factor, prefix = next(((f, p) for f, p in PREFIXES if size >= f), (1.0, ""))
    return 1 / factor, f"{label(target)} ({prefix}{unit})"


def coverage(inputs: ReportInputs) -> Drawing:
    """Coverage of the intervals, a point a stratum, with two standard errors."""
    table = inputs.coverage[inputs.coverage["coverage"].notna()]
    targets = _drawn(table)
    if not targets:
        return absent("The coverage of the intervals was not measured.")
    strata = list(dict.fromkeys(table["stratum"].astype(str)))
    figure, axes = new(1, len(targets), 1.3 + 0.27 * len(strata), sharey=True, sharex=True)
    places = {name: len(strata) - i for i, name in enumerate(strata)}
    for panel, target in zip(axes[0], targets, strict=True):
        own = table[table["target"] == target]
        level = float(own["level"].iloc[0]) * 100
        panel.axvspan(level - 2, level + 2, color=COLOURS["shade"], linewidth=0)
        panel.axvline(level, color=COLOURS["grey"], linewidth=1)
        y = np.array([places[str(name)] for name in own["stratum"]], dtype=np.float64)
        left_out = (own["split"] == LEFT_OUT).to_numpy()
        everything = (own["stratum"] == "all").to_numpy()
        error = np.nan_to_num(200 * floats(own["standard_error"]))
        for colour, some, down in (
            (COLOURS["meter"], everything, 0.0),
            (COLOURS["nvml"], ~everything & ~left_out, 0.0),
            (COLOURS["smi"], left_out, 0.28),
        ):
            panel.errorbar(
                floats(own["coverage"])[some] * 100,
                y[some] - down,
                xerr=error[some],
                fmt="o",
                markersize=4,
                color=colour,
                elinewidth=1,
            )
        panel.set_title(_two_lines(label(target)), fontsize=9)
        panel.set_xlabel("inside (%)")
    axes[0, 0].set_yticks(list(places.values()), [stratum_name(name) for name in places])
    axes[0, 0].set_ylim(0.4, len(strata) + 0.6)
    networks = int(table["networks"].max())
    return Drawing(
        figure,
        "Share of held-out trainings inside their interval, by stratum, with two standard errors "
        f"clustered by network ({count(networks, 'network')}). Line: what the interval says; grey: "
        "±2 points. Black: all. Orange: strata that were left out of all fits, foreign to the "
        "models.",
    )


def _two_lines(words: str) -> str:
    """Wrap a heading, at least two lines, so that the headings of a row end alike."""
    lines = textwrap.wrap(words, 16)
    return "\n".join([*[" "] * (2 - len(lines)), *lines])


def growth(inputs: ReportInputs) -> Drawing:
    """The surrogate's own learning curve: scores against networks that it was fitted to."""
    table = inputs.growth
    measured = table[table["kind"] == "measured"]
    targets = _drawn(measured[measured["kendall_tau"].notna()])
    if not targets:
        return absent("The learning curve of the surrogate was not measured.")
    figure, axes = new(2, len(targets), 4.6, sharex=True)
    for column, target in enumerate(targets):
        own = table[table["target"] == target]
        share = target.endswith("accuracy")
        error = "mae" if share else "mape"
        _grown(axes[0, column], own, "kendall_tau", 1.0, COLOURS["nvml"])
        _grown(axes[1, column], own, error, 100.0, COLOURS["smi"])
        least = chosen(inputs.scores[inputs.scores["target"] == target])["error_floor"].dropna()
        if len(least):
            axes[1, column].axhline(
                100 * float(least.iloc[0]), color=COLOURS["grey"], linestyle="--"
            )
        axes[0, column].set_title(_two_lines(label(target)), fontsize=9)
        axes[0, column].set_ylabel("Kendall τ" if column == 0 else "")
        axes[1, column].set_ylabel("MAE (points)" if share else "MAPE (%)")
        top = float(np.nanmax(floats(own[error]))) * 100
        axes[1, column].set_ylim(0, 1.08 * top if top > 0 else 1)
        axes[1, column].set_xlabel("networks trained")
    said = table.loc[table["target"] == targets[0], "words"].dropna().astype(str)
    words = " ".join(dict.fromkeys(w for w in said if w))
    return Drawing(
        figure,
        "Scores on networks kept apart from all fits, against the number of networks that the "
        "surrogate was fitted to: a point an order in which networks were taken, line their mean; "
        "hollow: what more would bring, by a power law through the points; dashed: the least error "
        f"that the noise of one training allows. {words}".rstrip(),
    )


def _grown(panel: Any, own: pd.DataFrame, column: str, factor: float, colour: str) -> None:
    measured = own[(own["kind"] == "measured") & own[column].notna()]
    expected = own[(own["kind"] == "expected") & own[column].notna()]
    panel.set_xscale("log")
    panel.scatter(
        floats(measured["networks"]),
        floats(measured[column]) * factor,
        s=12,
        color=colour,
        alpha=0.5,
    )
    mean = measured.groupby("networks")[column].mean()
    panel.plot(mean.index.to_numpy(dtype=float), floats(mean) * factor, color=colour)
    if len(expected):
        panel.plot(
            floats(expected["networks"]),
            floats(expected[column]) * factor,
            color=colour,
            linestyle=":",
            marker="o",
            markerfacecolor="white",
            markersize=5,
        )
    counts = sorted({int(n) for n in own["networks"]})
    shown = [counts[0], counts[len(counts) // 2], counts[-1]]
    panel.set_xticks(shown, [str(n) for n in shown])
    panel.minorticks_off()


def held_out(inputs: ReportInputs) -> Drawing:
    """Predicted against measured values of networks that the models had not seen."""
    table = inputs.held_out
    targets = _drawn(table)
    if not targets:
        return absent("No predictions of held-out networks were kept.")
    columns = min(2, len(targets))
    rows = -(-len(targets) // columns)
    figure, axes = new(rows, columns, 3.3 * rows)
    for panel, target in zip(axes.flat, targets, strict=False):
        own = table[table["target"] == target]
        factor, text = axis_of(target, own["measured"])
        x, y = floats(own["measured"]) * factor, floats(own["predicted"]) * factor
        low, high = floats(own["low"]) * factor, floats(own["high"]) * factor
        bounded = np.isfinite(low) & np.isfinite(high)
        outside = bounded & ((x < low) | (x > high))
        cloud(panel, x[~outside], y[~outside], COLOURS["nvml"])
        if outside.any():
            many = len(x) >= MAX_VECTOR_POINTS
            panel.scatter(
                x[outside],
                y[outside],
                s=4 if many else 12,
                color=COLOURS["smi"],
                marker="x",
                linewidths=0.5 if many else 0.8,
                rasterized=many,
            )
        ends = [np.nanmin([x, y]), np.nanmax([x, y])]
        panel.plot(ends, ends, color=COLOURS["grey"], linewidth=0.8)
        if unit_of(target) and ends[0] > 0 and ends[1] / ends[0] > 20:
            panel.set_xscale("log")
            panel.set_yscale("log")
        panel.set_xlabel(f"measured {text}")
        panel.set_ylabel(f"predicted {text[text.rindex('(') :]}")
        share = f", {100 * outside.sum() / bounded.sum():.1f} % outside" if bounded.any() else ""
        panel.set_title(f"n = {len(own)} runs{share}", fontsize=9)
    for panel in axes.flat[len(targets) :]:
        say(panel, "")
    names = listed([label(target) for target in targets])
    return Drawing(
        figure,
        f"{names[0].upper()}{names[1:]}: predictions for networks that the model had not seen "
        f"({count(table['network_key'].nunique(), 'network')}), at the end of the training. Line: "
        "equal. Crosses: the measured value lies outside of the interval.",
    )
