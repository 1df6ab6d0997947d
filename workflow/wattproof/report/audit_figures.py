"""Figures of an audit: traces, pairs against their line, errors, and rows of figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from wattproof.clocks.frames import records
from wattproof.report import style
from wattproof.report.audit_inputs import AuditInputs
from wattproof.report.style import COLOURS, Drawing
from wattproof.report.thinned import thinned
from wattproof.units import NS_PER_S

PALETTE = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MOST_SERIES = 7
POINTS = 3_000
MOST_PAIRS = 6


def _series(inputs: AuditInputs) -> list[tuple[str, pd.DataFrame]]:
    """Recordings with power series: the one with most findings first."""
    found = []
    for frame in inputs.samples:
        for recording, part in frame.groupby("recording", sort=True):
            if part["t_ns"].notna().any():
                found.append((str(recording), part))
    weight = inputs.findings[inputs.findings["severity"] != "note"]["recording"].value_counts()
    return sorted(found, key=lambda pair: (-int(weight.get(pair[0], 0)), pair[0]))


def trace(inputs: AuditInputs) -> Drawing:
    """Power over time in one recording, with its windows and the places of findings."""
    found = _series(inputs)
    if not found:
        return style.absent("There is no time series in this set: rows of figures only.")
    name, part = found[0]
    listed = inputs.channels[inputs.channels["recording"] == name]
    power = set(
        zip(
            listed.loc[listed["kind"] == "power", "source"],
            listed.loc[listed["kind"] == "power", "channel"],
            strict=True,
        )
    )
    start = int(part["t_ns"].dropna().astype("int64").min())
    figure, axes = style.new(1, 1, height_in=3.4)
    drawn = 0
    for key, rows in part[part["t_ns"].notna()].groupby(["source", "channel"], sort=True):
        if (str(key[0]), str(key[1])) not in power or drawn >= MOST_SERIES:
            continue
        t = (rows["t_ns"].astype("int64").to_numpy() - start) / NS_PER_S
        order = np.argsort(t, kind="stable")
        x, y = thinned(t[order], rows["value"].to_numpy(np.float64)[order], POINTS)
        axes[0, 0].plot(
            x, y, color=PALETTE[drawn], linewidth=1.0, label=f"{key[1]} ({key[0]})", rasterized=True
        )
        drawn += 1
    if not drawn:
        return style.absent("There is no series of power in this set.")
    for window in records(inputs.windows[inputs.windows["recording"] == name]):
        begin, end = ((window[k] - start) / NS_PER_S for k in ("start_ns", "end_ns"))
        axes[0, 0].axvspan(begin, end, color=COLOURS["shade"], alpha=0.5, zorder=0)
    placed = inputs.findings[
        (inputs.findings["recording"] == name)
        & inputs.findings["start_ns"].notna()
        & (inputs.findings["severity"] != "note")
    ]
    for number, row in enumerate(records(placed.head(6))):
        begin = (int(row["start_ns"]) - start) / NS_PER_S
        axes[0, 0].axvline(begin, color="#b23a00", linewidth=1, linestyle=":")
        axes[0, 0].annotate(
            row["flag"],
            (begin, 1 - 0.08 * number),
            xycoords=("data", "axes fraction"),
            fontsize=7.5,
            color="#b23a00",
        )
    axes[0, 0].set(xlabel="time since the first reading (s)", ylabel="power (W)", title=name)
    style.legend_below(axes[0, 0], 2)
    return Drawing(
        figure,
        f"Power in {name}; grey: windows, dotted: where errors and warnings begin. "
        "traces.html shows every recording, to zoom into.",
    )


def _wide(inputs: AuditInputs, row: dict[str, Any], idle: bool = False) -> tuple[Any, Any]:
    """Values and reference of one comparison, by window or row (of idle rows only if `idle`)."""
    quantity = "energy_j" if row["quantity"] == "energy" else "mean_w"
    reference, _, source = str(row["reference"]).partition(" (")
    source = source.rstrip(")")
    if row["level"] == "row":
        table = inputs.reported[inputs.reported["recording"] == row["setting"]]
        table = table[(table["kind"] == "idle") == idle]
        index = ["recording", "row"]
    else:
        table = inputs.energy[inputs.energy["level"] == row["level"]]
        index = ["window_id"]
    wide = table.pivot_table(
        index=index, columns=["source", "channel"], values=quantity, dropna=False
    )
    key, ref = (row["source"], row["channel"]), (source, reference)
    if key not in wide or ref not in wide:
        return None, None
    both = wide[key].notna() & wide[ref].notna()
    return wide.loc[both, key].to_numpy(np.float64), wide.loc[both, ref].to_numpy(np.float64)


def _chosen(inputs: AuditInputs) -> list[dict[str, Any]]:
    rows = inputs.agreement[inputs.agreement["level"].isin(["row", "run", "epoch"])]
    rows = rows[rows["pearson"].notna()]
    # One quantity a pair: power where rows are means, energy where windows are.
    rows = rows.sort_values(["setting", "channel", "quantity"], ascending=[True, True, False])
    rows = rows.drop_duplicates(["setting", "source", "channel", "reference"])
    return records(rows)[:MOST_PAIRS]


def against(inputs: AuditInputs) -> Drawing:
    """What is compared against its reference, with the least-squares line."""
    found = []
    for row in _chosen(inputs):
        x, y = _wide(inputs, row)
        if x is not None and len(x) > 2:
            found.append((row, x, y))
    if not found:
        return style.absent("No two channels of this set tell of the same thing.")
    columns = min(len(found), 2)
    count = (len(found) + columns - 1) // columns
    figure, axes = style.new(count, columns, height_in=2.9 * count)
    for panel, (row, x, y) in zip(axes.flat, found, strict=False):
        unit = "W" if row["quantity"] == "power" else "J"
        style.cloud(panel, x, y, COLOURS["nvml"])
        ends = np.array([x.min(), x.max()])
        panel.plot(ends, row["intercept"] + row["slope"] * ends, color=COLOURS["smi"])
        if row["level"] == "row":
            at_idle = _wide(inputs, row, idle=True)
            if at_idle[0] is not None and len(at_idle[0]):
                label = f"idle, not fitted (n = {len(at_idle[0])})"
                panel.plot(*at_idle, "x", color=COLOURS["grey"], label=label)
                panel.legend(fontsize=7)
        panel.set(xlabel=f"{row['label']} ({unit})", ylabel=f"{row['reference']} ({unit})")
        panel.set_title(
            f"{row['intercept']:.4g} {unit} + {row['slope']:.4g}·x,  r = {row['pearson']:.3f}, "
            f"n = {row['n']}",
            fontsize=8,
        )
    for panel in list(axes.flat)[len(found) :]:
        panel.set_axis_off()
    return Drawing(
        figure,
        "Each point is a window or a row; the line is the least-squares fit of the reference. "
        "Table agreement.",
    )


def errors(inputs: AuditInputs) -> Drawing:
    """Relative differences to the reference, by comparison."""
    found = []
    for row in _chosen(inputs):
        x, y = _wide(inputs, row)
        if x is None:
            continue
        positive = y > 0
        if positive.sum() > 2:
            found.append((row["label"], 100 * (y - x)[positive] / y[positive]))
    if not found:
        return style.absent("There is no reference in this set that errors could be told against.")
    figure, axes = style.new(1, 1, height_in=0.6 + 0.5 * len(found))
    axes[0, 0].boxplot(
        [values for _, values in found],
        orientation="horizontal",
        tick_labels=[f"{label}\nn = {len(values)}" for label, values in found],
        widths=0.6,
        flierprops={"markersize": 3},
    )
    axes[0, 0].axvline(0, color=COLOURS["grey"], linewidth=1)
    axes[0, 0].set_xlabel("(reference − value) / reference (%); positive: underestimate")
    return Drawing(figure, "Relative differences to the reference; boxes: quartiles.")


def rows_power(inputs: AuditInputs) -> Drawing:
    """Distribution of the reported powers, by channel."""
    rows = inputs.reported[inputs.reported["mean_w"].notna()]
    if rows.empty:
        return style.absent("This set has no rows of figures.")
    figure, axes = style.new(1, 1, height_in=3.0)
    groups = rows.groupby(["source", "channel"], sort=True)
    for number, (key, part) in enumerate(list(groups)[:MOST_SERIES]):
        values = np.sort(part["mean_w"].to_numpy(np.float64))
        style.ecdf(axes[0, 0], values, PALETTE[number], f"{key[1]} ({key[0]})")
    axes[0, 0].set(xlabel="mean power of a row (W)", ylabel="cumulative share of rows")
    style.legend_below(axes[0, 0], 2)
    return Drawing(figure, "How the reported mean powers are distributed. Table reported.")


FIGURES = (
    ("trace", "Power over time", trace),
    ("against", "Against the reference", against),
    ("errors", "Differences to the reference", errors),
    ("rows", "Reported power", rows_power),
)
"""File stem, title, drawing function."""
