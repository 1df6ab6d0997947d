"""A plot for each kind of finding: the readings, windows or rows that it speaks of."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from wattproof.clocks.frames import records
from wattproof.report import style
from wattproof.report.audit_inputs import AuditInputs
from wattproof.report.style import COLOURS, Drawing
from wattproof.report.text import known
from wattproof.report.thinned import thinned
from wattproof.units import NS_PER_S

POINTS = 2_000

MOST_FLAGS = 12
"""Kinds of findings that get a plot, worst first; the page stays below some megabytes."""

MOST_PLACES = 4
"""Panels of a plot."""

MOST_LINES = 4
"""Series in a panel."""

MARGIN = 0.5
"""Shown on both sides of a place, in lengths of the place."""

INK = ("#0072B2", "#009E73", "#CC79A7", "#E69F00")
MARK = "#b23a00"


@dataclass(frozen=True)
class Place:
    """Where a finding shows: an interval of a recording (None: all of it), or rows of figures."""

    recording: str
    source: str
    channel: str
    start_ns: int | None = None
    end_ns: int | None = None
    rows: bool = False

    @property
    def title(self) -> str:
        """Heading of the panel."""
        return " ".join(filter(None, (self.recording, self.source, self.channel)))


def _recordings(inputs: AuditInputs) -> dict[str, pd.DataFrame]:
    return {
        str(name): part for frame in inputs.samples for name, part in frame.groupby("recording")
    }


def _text(row: dict[str, Any], key: str) -> str:
    return str(row[key]) if known(row[key]) else ""


def _instant(row: dict[str, Any], key: str) -> int | None:
    return int(row[key]) if known(row[key]) else None


def _flagged(inputs: AuditInputs, row: dict[str, Any]) -> list[Place]:
    """Windows that carry the flag."""
    found = inputs.energy
    for key in ("recording", "source", "channel"):
        if _text(row, key):
            found = found[found[key] == row[key]]
    found = found[np.array([row["flag"] in flags for flags in found["flags"]], dtype=bool)]
    places = found.merge(
        inputs.windows[["recording", "window_id", "start_ns", "end_ns"]],
        on=["recording", "window_id"],
        suffixes=("_energy", ""),
    )
    return [
        Place(r["recording"], r["source"], r["channel"], int(r["start_ns"]), int(r["end_ns"]))
        for r in records(places.head(MOST_PLACES))
    ]


def _places(inputs: AuditInputs, row: dict[str, Any], series: dict[str, Any]) -> list[Place]:
    """What one finding can be seen in; nothing where it speaks of neither readings nor rows."""
    name, source, channel = (_text(row, key) for key in ("recording", "source", "channel"))
    if name in series:
        return [Place(name, source, channel, _instant(row, "start_ns"), _instant(row, "end_ns"))]
    windows = _flagged(inputs, row)
    if windows:
        return windows
    rows = inputs.reported[inputs.reported["recording"] == name]
    if channel:
        rows = rows[rows["channel"] == channel]
    if len(rows):
        return [Place(name, source, channel, rows=True)]
    # A published figure is one of several recordings, whose names begin with that of the figure.
    subject = str(row["evidence"]).partition(",")[0]
    alike = [each for each in series if subject and each.startswith(subject)]
    return [Place(each, source, channel) for each in alike[:1]]


def _draw_series(panel: Any, inputs: AuditInputs, place: Place, part: pd.DataFrame) -> bool:
    good = part[part["t_ns"].notna()]
    own = good
    for key, wanted in (("source", place.source), ("channel", place.channel)):
        if wanted and (own[key] == wanted).any():
            own = own[own[key] == wanted]
    if own.empty:
        return False
    if not place.channel:
        listed = inputs.channels[inputs.channels["recording"] == place.recording]
        power = set(listed.loc[listed["kind"] == "power", "channel"])
        if own["channel"].isin(power).any():
            own = own[own["channel"].isin(power)]
    start = int(good["t_ns"].astype("int64").min())
    low = high = None
    if place.start_ns is not None and place.end_ns is not None:
        low, high = (place.start_ns - start) / NS_PER_S, (place.end_ns - start) / NS_PER_S
    drawn = 0
    for number, (pair, rows) in enumerate(own.groupby(["source", "channel"], sort=True)):
        if number >= MOST_LINES:
            break
        t = (rows["t_ns"].astype("int64").to_numpy() - start) / NS_PER_S
        order = np.argsort(t, kind="stable")
        t, value = t[order], rows["value"].to_numpy(np.float64)[order]
        if low is not None and high is not None:
            margin = max(MARGIN * (high - low), 5.0)
            near = (t >= low - margin) & (t <= high + margin)
            t, value = t[near], value[near]
        x, y = thinned(t, value, POINTS)
        label = f"{pair[1]} ({pair[0]})"
        few = len(x) < POINTS / 10
        panel.plot(
            x,
            y,
            color=INK[number],
            linewidth=1,
            marker="." if few else None,
            markersize=4,
            label=label,
            rasterized=not few,
        )
        drawn += len(x)
    if low is not None and high is not None:
        panel.axvspan(low, high, color=MARK, alpha=0.12, zorder=0)
    panel.set(xlabel="time since the first reading (s)", ylabel="reading")
    return drawn > 0


def _draw_rows(panel: Any, inputs: AuditInputs, place: Place) -> bool:
    rows = inputs.reported[inputs.reported["recording"] == place.recording]
    quantity = "mean_w" if rows["mean_w"].notna().any() else "energy_j"
    rows = rows[rows[quantity].notna()]
    if rows.empty:
        return False
    # The channel that the finding speaks of lies on top.
    groups = sorted(
        rows.groupby(["source", "channel"], sort=True),
        key=lambda group: (group[0][1] == place.channel, group[0]),
    )[-MOST_LINES:]
    for number, (key, part) in enumerate(groups):
        own = key[1] == place.channel
        panel.plot(
            part["row"],
            part[quantity],
            linestyle="none",
            marker=".",
            markersize=5 if len(part) < 100 else 3,
            color=MARK if own else INK[number],
            label=f"{key[1]} ({key[0]})",
            rasterized=len(part) > POINTS,
        )
    if quantity == "mean_w" and "config_power_limit" in rows:
        limit = pd.to_numeric(rows["config_power_limit"], errors="coerce")
        panel.plot(rows["row"], limit, "_", color=COLOURS["grey"], label="power limit")
    unit = "mean power (W)" if quantity == "mean_w" else "energy (J)"
    panel.set(xlabel="row of the table of figures", ylabel=unit)
    return True


def _draw(inputs: AuditInputs, places: list[Place], series: dict[str, pd.DataFrame]) -> Any:
    """The panels of one kind of finding, or None if nothing can be drawn."""
    columns = min(len(places), 2)
    count = (len(places) + columns - 1) // columns
    figure, axes = style.new(count, columns, height_in=2.7 * count)
    drawn = 0
    for panel, place in zip(axes.flat, places, strict=False):
        if place.rows:
            done = _draw_rows(panel, inputs, place)
        else:
            done = _draw_series(panel, inputs, place, series[place.recording])
        if done:
            panel.set_title("\n".join(textwrap.wrap(place.title, 44)), fontsize=7.5)
            panel.legend(fontsize=7, loc="best")
        else:
            style.say(panel, "No reading of it is left to draw.")
        drawn += done
    for panel in list(axes.flat)[len(places) :]:
        panel.set_axis_off()
    if drawn:
        return figure
    from matplotlib import pyplot as plt

    plt.close(figure)
    return None


def draw_findings(inputs: AuditInputs) -> list[tuple[str, str, str, Drawing]]:
    """A plot for each kind of error and warning that can be seen in readings or rows.

    Args:
        inputs: The audit's tables.

    Returns:
        Flag, title, remedy and drawing, worst first.
    """
    series = _recordings(inputs)
    serious = inputs.findings[inputs.findings["severity"] != "note"]
    out: list[tuple[str, str, str, Drawing]] = []
    for flag in list(dict.fromkeys(serious["flag"])):
        if len(out) >= MOST_FLAGS:
            break
        rows = records(serious[serious["flag"] == flag])
        places = list(dict.fromkeys(p for row in rows for p in _places(inputs, row, series)))
        places = [p for p in places if p.rows or p.recording in series]
        if not places:
            continue
        figure = _draw(inputs, places[:MOST_PLACES], series)
        if figure is None:
            continue
        first = rows[0]
        more = len(rows) - 1
        caption = str(first["evidence"]) + (f" And {more} more such finding(s)." if more else "")
        if any(p.start_ns is not None for p in places[:MOST_PLACES]):
            caption += " Shaded: the place, or a window that carries the flag."
        title = f"{first['severity']}: {str(flag).replace('_', ' ')}"
        out.append((str(flag), title, str(first["remedy"]), Drawing(figure, caption)))
    return out
