"""One look for all figures: colours, sizes, labels. Matplotlib is imported on first use."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COLOURS = {
    # Okabe and Ito's palette: told apart with every common kind of colour blindness.
    "balance": "#000000",
    "meter": "#000000",
    "smi": "#D55E00",
    "nvml": "#0072B2",
    "rapl": "#009E73",
    "host": "#CC79A7",
    "difference": "#009E73",
    "estimate": "#0072B2",
    "estimate2": "#D55E00",
    "estimate3": "#009E73",
    "estimate4": "#CC79A7",
    "shade": "#E6E6E6",
    "grey": "#666666",
}

DPI = 144
WIDTH_IN = 7.5
MAX_VECTOR_POINTS = 2_000
"""Clouds with more points are drawn as an image inside the SVG, which else gets megabytes."""

_RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "lines.linewidth": 1.4,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "svg.fonttype": "path",
    "svg.hashsalt": "wattproof",  # else ids in the SVG differ from run to run
}


@dataclass(frozen=True)
class FigureInfo:
    """A figure as files, with what the page says about it.

    Attributes:
        name: File stem.
        title: Heading.
        caption: What is plotted, from which tables, with which n.
        png: Path of the PNG.
        svg: Path of the SVG.
        missing: Why there is nothing to see; empty if there is. (The files exist all the same
            and show the sentence, so that a rule's outputs do not depend on the data.)
    """

    name: str
    title: str
    caption: str
    png: Path
    svg: Path
    missing: str = ""


@dataclass(frozen=True)
class Drawing:
    """What a drawing function returns: a figure and its caption, or a reason why there is none."""

    figure: Any
    caption: str
    missing: str = ""


def absent(reason: str) -> Drawing:
    """Return the drawing that says in words why there is no data."""
    figure, axes = new(1, 1, height_in=1.6)
    say(axes[0, 0], reason)
    return Drawing(figure, reason, reason)


@contextlib.contextmanager
def look() -> Iterator[None]:
    """Draw with the house's style on the file-only backend, and leave nothing behind."""
    import matplotlib

    matplotlib.use("Agg")
    with matplotlib.rc_context(_RC):
        yield


def new(rows: int, columns: int, height_in: float, **more: Any) -> tuple[Any, NDArray[Any]]:
    """Return a figure of the page's width and its axes as a (rows, columns) array."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(WIDTH_IN, height_in),
        squeeze=False,
        layout="constrained",
        **more,
    )
    return figure, axes


def plain_ticks(axis: Any) -> None:
    """Ticks of a logarithmic axis (``axes.xaxis``): plain numbers at 1, 2 and 5."""
    from matplotlib import ticker

    axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(ticker.NullLocator())


def say(axes: Any, words: str) -> None:
    """Empty a panel and write in words why it has no data."""
    axes.set_axis_off()
    text = "\n".join(textwrap.wrap(words, 34 if axes.get_position().width < 0.5 else 80))
    axes.text(
        0.5,
        0.5,
        text,
        transform=axes.transAxes,
        ha="center",
        va="center",
        color=COLOURS["grey"],
        style="italic",
    )


def ecdf(axes: Any, values: Array, colour: str, label: str, style: str = "-") -> None:
    """Draw an empirical cumulative distribution, its n in the legend."""
    axes.ecdf(values, color=colour, linestyle=style, label=f"{label} (n = {len(values)})")


def legend_below(axes: Any, columns: int) -> None:
    """Put the legend under the panel, where no data can be."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns)


def cloud(axes: Any, x: Array, y: Array, colour: str, **more: Any) -> Any:
    """Scatter; many points are drawn as an image inside the SVG."""
    return axes.scatter(
        x,
        y,
        s=11 if len(x) < MAX_VECTOR_POINTS else 4,
        color=colour,
        alpha=0.55 if len(x) < MAX_VECTOR_POINTS else 0.25,
        linewidths=0,
        rasterized=len(x) >= MAX_VECTOR_POINTS,
        **more,
    )


def line(axes: Any, x: Array, y: Array, colour: str, **more: Any) -> Any:
    """Line; a long one is drawn as an image inside the SVG."""
    return axes.plot(x, y, color=colour, rasterized=len(x) >= 10 * MAX_VECTOR_POINTS, **more)


def save(drawing: Drawing, name: str, title: str, out_dir: Path, simulated: bool) -> FigureInfo:
    """Write PNG and SVG, the same bytes for the same data, marked if simulated."""
    from matplotlib import pyplot as plt

    if simulated:
        drawing.figure.suptitle(
            "SIMULATED power", x=0.995, ha="right", fontsize=8, color="#A4003B", weight="bold"
        )
    out_dir.mkdir(parents=True, exist_ok=True)
    png, svg = out_dir / f"{name}.png", out_dir / f"{name}.svg"
    drawing.figure.savefig(png, metadata={"Software": None})
    drawing.figure.savefig(svg, metadata={"Date": None, "Creator": None})
    plt.close(drawing.figure)
    return FigureInfo(name, title, drawing.caption, png, svg, drawing.missing)


def series_colours(names: Sequence[str]) -> dict[str, str]:
    """Colours for named estimators, in order."""
    cycle = [COLOURS[k] for k in ("estimate2", "estimate", "estimate3", "estimate4")]
    return {name: cycle[i % len(cycle)] for i, name in enumerate(names)}
