"""Traces to zoom into: one page that needs no network, by plotly."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wattproof.clocks.frames import records
from wattproof.report.thinned import thinned
from wattproof.units import NS_PER_S

POINTS = 4_000
"""Points of a series at most, smallest and largest of each stretch; the page says so."""

MOST = 24
"""Recordings on a page at most: it stays below some ten megabytes."""

KINDS = ("power",)

COLOURS = (
    "#000000",
    "#D55E00",
    "#0072B2",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8a5a00",
)


@dataclass(frozen=True)
class Trace:
    """One power series of a recording: seconds since its begin, and watts."""

    label: str
    t_s: np.ndarray
    value: np.ndarray
    total: int


def traces_of(samples: pd.DataFrame, channels: pd.DataFrame, start_ns: int) -> list[Trace]:
    """Power series of one recording, and the rates of its energy counters.

    Args:
        samples: Readings of the recording, with t_ns.
        channels: Its rows of table ``channels``.
        start_ns: Instant 0.
    """
    found = []
    kinds = {
        (s, c): k
        for s, c, k in zip(channels["source"], channels["channel"], channels["kind"], strict=True)
    }
    good = samples[samples["t_ns"].notna() & (samples["status"] == "ok")]
    for key, part in good.groupby(["source", "channel"], sort=True):
        kind = kinds.get((str(key[0]), str(key[1])))
        if kind not in ("power", "energy"):
            continue
        t = (part["t_ns"].astype("int64").to_numpy() - start_ns) / NS_PER_S
        value = part["value"].to_numpy(dtype=np.float64)
        order = np.argsort(t, kind="stable")
        t, value = t[order], value[order]
        label = f"{key[1]} ({key[0]})"
        if kind == "energy":
            dt = np.diff(t)
            keep = dt > 0
            value = np.diff(value)[keep] / dt[keep]
            t = (t[1:])[keep]
            label += ", rate"
        if len(t) > 1:
            found.append(Trace(label, *thinned(t, value, POINTS), total=len(t)))
    return found


def figure(traces: Sequence[Trace], windows: pd.DataFrame, start_ns: int, title: str) -> Any:
    """A plotly figure with range slider, and the windows as bands that can be switched off."""
    from plotly import graph_objects as go

    plot = go.Figure()
    for number, trace in enumerate(traces):
        plot.add_trace(
            go.Scatter(
                x=trace.t_s,
                y=trace.value,
                name=trace.label,
                mode="lines",
                line={"width": 1.2, "shape": "hv", "color": COLOURS[number % len(COLOURS)]},
                hovertemplate="%{x:.3f} s<br>%{y:.2f} W<extra>%{fullData.name}</extra>",
            )
        )
    shapes, notes = [], []
    for row in records(windows.sort_values("start_ns")):
        begin, end = ((row[k] - start_ns) / NS_PER_S for k in ("start_ns", "end_ns"))
        colour = "#E69F00" if row["level"] == "load" else "#0072B2"
        shapes.append(
            {
                "type": "rect",
                "xref": "x",
                "yref": "paper",
                "x0": begin,
                "x1": end,
                "y0": 0,
                "y1": 1,
                "fillcolor": colour,
                "opacity": 0.08,
                "line": {"width": 1, "color": colour},
                "layer": "below",
            }
        )
        notes.append(
            {
                "x": (begin + end) / 2,
                "y": 1,
                "xref": "x",
                "yref": "paper",
                "yanchor": "bottom",
                "showarrow": False,
                "text": str(row["run_id"] or row["kind"])[:24],
                "font": {"size": 10, "color": colour},
            }
        )
    shown = notes if len(notes) <= 20 else []
    plot.update_layout(
        title={"text": title, "x": 0},
        height=520,
        margin={"l": 60, "r": 20, "t": 90, "b": 40},
        xaxis={"title": "time since the first reading (s)", "rangeslider": {"visible": True}},
        yaxis={"title": "power (W)", "rangemode": "tozero"},
        legend={"orientation": "h", "y": -0.45},
        template="plotly_white",
        shapes=shapes,
        annotations=shown,
        hovermode="closest",
        updatemenus=[
            {
                "type": "buttons",
                "direction": "right",
                "x": 1,
                "xanchor": "right",
                "y": 1.18,
                "buttons": [
                    {
                        "label": "windows",
                        "method": "relayout",
                        "args": [{"shapes": shapes, "annotations": shown}],
                    },
                    {
                        "label": "no windows",
                        "method": "relayout",
                        "args": [{"shapes": [], "annotations": []}],
                    },
                ],
            }
        ],
    )
    return plot


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{simulated}wattproof traces, {name}</title>
<style>{css}</style></head><body>
{banner}<header><h1>Traces of {name}</h1>
<p>Drag to zoom, double-click to go back, click a name in the legend to hide it. All series are on
the recording's clock. Of long series the smallest and the largest value of each stretch are drawn
({points} points at most), so peaks are kept. This page needs no network.
<a href="report.html">Back to the report</a></p></header>
<main>{body}</main></body></html>
"""


def write(
    path: Path,
    name: str,
    simulated: bool,
    samples: Sequence[pd.DataFrame],
    channels: pd.DataFrame,
    windows: pd.DataFrame,
    css: str,
) -> int:
    """Write the page of traces.

    Args:
        path: File.
        name: Of the audit or campaign.
        simulated: Whether anything is simulated; the page then says so.
        samples: Readings with t_ns, a frame a set.
        channels: Table ``channels``.
        windows: Table ``windows``.
        css: Style of the report.

    Returns:
        Number of recordings shown.
    """
    from plotly import offline

    parts: list[str] = []
    left = 0
    for frame in samples:
        for recording, part in frame.groupby("recording", sort=True):
            listed = channels[channels["recording"] == recording]
            known = part["t_ns"].dropna()
            if known.empty:
                continue
            start_ns = int(known.astype("int64").min())
            traces = traces_of(part, listed, start_ns)
            if not traces:
                continue
            if len(parts) >= MOST:
                left += 1
                continue
            own = windows[(windows["recording"] == recording) & (windows["level"] != "phase")]
            plot = figure(traces, own, start_ns, str(recording))
            parts.append(
                offline.plot(
                    plot,
                    include_plotlyjs=not parts,
                    output_type="div",
                    config={"displaylogo": False, "responsive": True},
                )
            )
    if left:
        parts.append(f'<p class="missing">{left} more recordings are not shown here.</p>')
    if not parts:
        parts.append('<p class="missing">There is no series of power in this set.</p>')
    banner = (
        '<div class="banner" role="alert"><p>SIMULATED power: a model, not a measurement.</p></div>'
        if simulated
        else ""
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        _PAGE.format(
            simulated="SIMULATED: " if simulated else "",
            name=html.escape(name),
            css=css,
            banner=banner,
            points=POINTS,
            body="\n".join(parts),
        ),
        encoding="utf-8",
    )
    return len(parts)
