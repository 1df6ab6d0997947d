"""Figures of one recording: time series and distribution of one run, all sources, clocks."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from wattproof.report import series as ts
from wattproof.report.inputs import ReportInputs
from wattproof.report.select import (
    METER,
    METER_CHANNEL,
    finite,
    floats,
    run_of_example,
    source_name,
)
from wattproof.report.style import COLOURS, Drawing, absent, ecdf, legend_below, line, new, say
from wattproof.units import NS_PER_S

NO_EXAMPLE = "The report was given no example recording that holds a run and its samples."


def _slot(run: pd.Series) -> int | None:
    return None if pd.isna(run["slot"]) else int(run["slot"])


def _gpu_series(
    inputs: ReportInputs, run: pd.Series
) -> tuple[dict[str, ts.Series], ts.Balance | None, float]:
    """Power of the run's GPU by each source inside the run; balance; length of the run in s."""
    origin_ns = int(run["start_ns"])
    end_s = (int(run["end_ns"]) - origin_ns) / NS_PER_S
    found = {s: ts.gpu_power(inputs, s, _slot(run), origin_ns) for s in ("nvml", "smi")}
    inside = {s: one.between(0, end_s) for s, one in found.items()}
    balance = ts.gpu_balance(inputs, run, origin_ns)
    if balance is not None:
        balance = ts.Balance(balance.series.between(0, end_s), balance.how)
        if len(balance.series.t_s) == 0:
            balance = None
    return {s: one for s, one in inside.items() if len(one.t_s)}, balance, end_s


def time_series(inputs: ReportInputs) -> Drawing:
    """Figure 1: GPU power in one run by balance, SMI and NVML, and SMI's difference."""
    run = run_of_example(inputs)
    if run is None or "samples" not in inputs.example:
        return absent(NO_EXAMPLE)
    sources, balance, end_s = _gpu_series(inputs, run)
    if not sources:
        return absent(f"Run {run['run_id']} has no good sample of SMI or NVML on a known clock.")
    figure, axes = new(2, 1, 4.6, sharex=True, height_ratios=[2.2, 1])
    top, low = axes[:, 0]
    if balance is not None:
        label = f"node balance (n = {len(balance.series.t_s)})"
        line(top, balance.series.t_s, balance.series.value, COLOURS["balance"], label=label, lw=1.0)
    for source, one in sources.items():
        label = f"{source_name(source)} (n = {len(one.t_s)})"
        marker = {"marker": "o", "ms": 2.6} if source == "smi" else {}
        line(top, one.t_s, one.value, COLOURS[source], label=label, lw=1.1, **marker)
    top.set_ylabel("GPU power (W)")
    top.set_title(f"Run {run['run_id']}")
    top.margins(y=0.18)
    top.legend(ncols=3, loc="upper left")
    shown = "smi" if "smi" in sources else "nvml"
    if balance is not None:
        one = sources[shown]
        difference = balance.series.at(one.t_s) - one.value
        line(low, one.t_s, difference, COLOURS["difference"], lw=1.0, marker="o", ms=2.2)
        low.axhline(0, color=COLOURS["grey"], lw=0.8)
        low.set_ylabel(f"balance − {source_name(shown)} (W)")
    else:
        say(low, "No difference: there is no node balance.")
    bottom = low if balance is not None else top
    bottom.xaxis.set_tick_params(labelbottom=True)
    bottom.set_xlabel("time since the run began (s)")
    top.set_xlim(0, end_s)
    how = balance.how if balance else "not available: no meter, or its clock was refused"
    return Drawing(
        figure,
        f"GPU power in one run, sample by sample. Node balance: {how}. Below: what the balance "
        f"shows beyond {source_name(shown)}, at {source_name(shown)}'s instants.",
    )


def distribution(inputs: ReportInputs) -> Drawing:
    """Figure 2: eCDF of the power in one run."""
    run = run_of_example(inputs)
    if run is None or "samples" not in inputs.example:
        return absent(NO_EXAMPLE)
    sources, balance, _ = _gpu_series(inputs, run)
    if not sources:
        return absent(f"Run {run['run_id']} has no good sample of SMI or NVML on a known clock.")
    figure, axes = new(1, 1, 3.4)
    panel = axes[0, 0]
    if balance is not None:
        ecdf(panel, balance.series.value, COLOURS["balance"], "node balance")
    for source, one in sources.items():
        ecdf(panel, one.value, COLOURS[source], source_name(source))
    panel.set_xlabel("GPU power (W)")
    panel.set_ylabel("cumulative share of samples")
    panel.set_title(f"Run {run['run_id']}")
    panel.legend(loc="best")
    words = "A flat stretch in one curve only is a band of power that this source did not sample."
    if balance is None:
        words += " No node balance: no meter, or its clock was refused."
    return Drawing(figure, f"Distribution of the samples of one run. {words}")


_TIMELINE = (
    (METER, re.escape(METER_CHANNEL), "node (W)"),
    ("nvml", r"gpu\d+\.(power_instant|power_average|power_usage)", "NVML (W)"),
    ("smi", r"gpu\d+\.power\w*", "SMI (W)"),
    ("rapl", r".*(package|dram).*", "RAPL (W)"),
    ("host", r".*(load|util).*", "host load (%)"),
)


def timeline(inputs: ReportInputs) -> Drawing:
    """All sources of the example recording on one clock, with the windows shaded."""
    windows = inputs.windows[inputs.windows["recording"] == inputs.example.get("recording")]
    rows = [
        (source, names, label)
        for source, pattern, label in _TIMELINE
        if (names := ts.channels_of(inputs, source, pattern))
    ]
    if not rows or windows.empty:
        return absent(NO_EXAMPLE)
    origin_ns = int(windows["start_ns"].min())
    figure, axes = new(len(rows), 1, 1.0 + 1.05 * len(rows), sharex=True)
    marks = ["-", "--", ":", "-."]
    for panel, (source, names, label) in zip(axes[:, 0], rows, strict=True):
        for i, name in enumerate(names[: len(marks)]):
            one = ts.power(inputs, source, name, origin_ns)
            colour = COLOURS[source]
            line(panel, one.t_s, one.value, colour, lw=0.8, ls=marks[i], label=name)
        panel.set_ylabel(label)
        if not any(len(drawn.get_xdata()) for drawn in panel.lines):
            say(panel, f"{label}: no good sample on a known clock.")
            continue
        panel.legend(loc="upper right", fontsize=7, ncols=4, borderaxespad=0.1)
        panel.margins(y=0.25)
        _shade(panel, windows, origin_ns)
    top = axes[0, 0]
    top.set_title(f"Recording {inputs.example['recording']}")
    last = windows["end_ns"].to_numpy("int64").max() - origin_ns
    axes[-1, 0].set_xlim(0, last / NS_PER_S)
    bottom = next((p for p in axes[::-1, 0] if p.axison), axes[-1, 0])
    bottom.xaxis.set_tick_params(labelbottom=True)
    bottom.set_xlabel("time since the first window began (s)")
    runs = int((windows["level"] == "run").sum())
    loads = int((windows["level"] == "load").sum())
    return Drawing(
        figure,
        "All sources of one recording on the recording's clock. Grey: windows of runs "
        f"(n = {runs}); green: calibration loads (n = {loads}). A source whose clock was refused "
        "has no samples here.",
    )


def _shade(panel: Any, windows: pd.DataFrame, origin_ns: int) -> None:
    for level, colour in (("run", "#000000"), ("load", COLOURS["rapl"])):
        chosen = windows[windows["level"] == level]
        for start, end in zip(chosen["start_ns"], chosen["end_ns"], strict=True):
            left, right = ((int(t) - origin_ns) / NS_PER_S for t in (start, end))
            panel.axvspan(left, right, color=colour, alpha=0.09, lw=0)


def clock(inputs: ReportInputs) -> Drawing:
    """Offset and residual of every clock that had to be aligned."""
    clocks = inputs.clocks
    aligned = clocks[clocks["clock"] == "device"]
    if aligned.empty:
        why = (
            "All sources stamp their samples with the recording's own clock: nothing to align."
            if len(clocks)
            else "There is no table of clocks."
        )
        return absent(why)
    if not aligned["offset_ns"].notna().any():
        why = str(aligned["reason"].iloc[0]).rstrip(".")
        return absent(f"Every clock was refused ({len(aligned)} alignments); the first: {why}.")
    figure, axes = new(1, 2, 3.2)
    names = sorted(aligned["source"].astype(str).unique())
    refused = int((~aligned["accepted"].astype(bool)).sum())
    for source in names:
        own = aligned[aligned["source"] == source].sort_values(["recording", "session"])
        accepted = own["accepted"].astype(bool).to_numpy()
        place = np.arange(1, len(own) + 1)
        offset_s = np.full(len(own), np.nan)
        known = own["offset_ns"].notna().to_numpy()
        offsets = own.loc[known, "offset_ns"].astype("int64").to_numpy()
        if len(offsets):
            # Against the median as integers: device clocks may count from the epoch.
            centre = np.sort(offsets)[len(offsets) // 2]
            offset_s[known] = (offsets - centre) / NS_PER_S
        residual_ms = floats(own["residual_ns"]) / 1e6
        colour = COLOURS.get(source, COLOURS["grey"])
        for panel, y, bars in (
            (axes[0, 0], offset_s * 1e3, residual_ms),
            (axes[0, 1], residual_ms, None),
        ):
            good = np.isfinite(y)
            panel.errorbar(
                place[good & accepted],
                y[good & accepted],
                yerr=None if bars is None else np.nan_to_num(bars[good & accepted]),
                fmt="o",
                ms=4,
                color=colour,
                label=f"{source} (n = {int(accepted.sum())})",
            )
            if (~accepted & good).any():
                panel.plot(
                    place[good & ~accepted],
                    y[good & ~accepted],
                    "x",
                    color=COLOURS["smi"],
                    label=f"{source}, refused",
                )
    axes[0, 0].set_title("Offset")
    axes[0, 0].set_ylabel("offset − its median (ms)")
    axes[0, 1].set_title("Residual")
    axes[0, 1].set_ylabel("spread around the line (ms)")
    axes[0, 1].set_ylim(bottom=0)
    for panel in axes[0]:
        panel.set_xlabel("session of a recording, in order")
        panel.xaxis.get_major_locator().set_params(integer=True)
        legend_below(panel, 2)
    worst = finite(aligned.loc[aligned["accepted"].astype(bool), "residual_ns"])
    words = f"Largest residual accepted: {worst.max() / 1e6:.1f} ms. " if len(worst) else ""
    return Drawing(
        figure,
        "Clocks of the instruments with their own time, against the recording's clock; bars: "
        f"residual. {words}Refused alignments: {refused} of {len(aligned)}.",
    )
