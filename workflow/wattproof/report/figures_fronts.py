"""Figure of the Pareto fronts: measured and predicted, with and without inference energy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from wattproof.report.figures_surrogate import axis_of
from wattproof.report.inputs import ReportInputs
from wattproof.report.select import floats
from wattproof.report.style import COLOURS, Drawing, absent, cloud, new, plain_ticks, say
from wattproof.report.text import whole
from wattproof.surrogate.targets import INFERENCE

CLOUD = {"measured": COLOURS["grey"], "predicted": "#9BC4E2"}
LINE = {"measured": COLOURS["meter"], "predicted": COLOURS["nvml"]}


def pareto(inputs: ReportInputs) -> Drawing:
    """Accuracy against energy with both fronts; the same with inference energy as the colour."""
    points = inputs.published.points
    if points.empty or not points["front"].any():
        return absent("There is no published benchmark with measured or predicted energies.")
    figure, axes = new(1, 2, 3.9)
    factor, text = axis_of("energy_j", points["energy_j"])
    text = f"{text[:-1]}, {inputs.published.scope})" if inputs.published.scope else text
    _two(axes[0, 0], points, factor)
    known = points[points[INFERENCE].notna() & points["front_inference"]]
    if known.empty:
        say(axes[0, 1], "No inference energy was measured.")
    else:
        _three(figure, axes[0, 1], known, factor)
        axes[0, 1].set_xlabel(text)
    axes[0, 0].set_xlabel(text)
    axes[0, 0].set_ylabel("validation accuracy (%)")
    sizes = {k: points[points["kind"] == k] for k in ("measured", "predicted")}
    return Drawing(
        figure,
        "Left: accuracy and energy of the finished training, "
        + " and ".join(
            f"{whole(len(own))} {kind} configurations ({whole(own['front'].sum())} on the front)"
            for kind, own in sizes.items()
            if len(own)
        )
        + "; predictions only inside of what was trained. The best of many predictions is better "
        "than what a training of it will give: read the measured front as fact, the predicted one "
        "as where to look. Right: what no other configuration beats in accuracy, training energy "
        "and inference energy together.",
    )


def _two(panel: Any, points: pd.DataFrame, factor: float) -> None:
    for kind in ("predicted", "measured"):
        own = points[(points["kind"] == kind) & points["energy_j"].notna()]
        if own.empty:
            continue
        x, y = floats(own["energy_j"]) * factor, floats(own["accuracy"]) * 100
        cloud(panel, x, y, CLOUD[kind])
        front = own["front"].to_numpy(dtype=bool)
        order = np.argsort(x[front], kind="stable")
        panel.step(
            x[front][order],
            y[front][order],
            where="post",
            color=LINE[kind],
            marker="o",
            markersize=3,
            label=f"{kind} front",
        )
    panel.set_xscale("log")
    plain_ticks(panel.xaxis)
    panel.set_title("accuracy and training energy", fontsize=9)
    panel.legend(loc="lower right", frameon=True, framealpha=0.85, edgecolor="none")


def _three(figure: Any, panel: Any, known: pd.DataFrame, factor: float) -> None:
    from matplotlib.colors import LogNorm

    shade, text = axis_of(INFERENCE, known[INFERENCE])
    values = floats(known[INFERENCE]) * shade
    norm = LogNorm(values.min(), max(values.max(), values.min() * 1.01))
    drawn: Any = None
    for kind, marker, size in (("predicted", "o", 14), ("measured", "D", 20)):
        own = (known["kind"] == kind).to_numpy()
        if own.any():
            drawn = panel.scatter(
                floats(known["energy_j"])[own] * factor,
                floats(known["accuracy"])[own] * 100,
                c=values[own],
                s=size,
                marker=marker,
                norm=norm,
                cmap="viridis",
                edgecolors="black" if kind == "measured" else "none",
                linewidths=0.6,
                label=f"{kind} ({whole(own.sum())})",
            )
    panel.set_xscale("log")
    plain_ticks(panel.xaxis)
    panel.set_title("with inference energy", fontsize=9)
    legend = panel.legend(loc="lower right", frameon=True, framealpha=0.85, edgecolor="none")
    for handle in legend.legend_handles:
        handle.set_facecolor(COLOURS["grey"])
    bar = figure.colorbar(drawn, ax=panel, label=text)
    plain_ticks(bar.ax.yaxis)
