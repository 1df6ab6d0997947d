"""What was measured beside what the found sensor would show: one row a channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from wattproof.characterise.channel import Finding
from wattproof.characterise.measure import Run
from wattproof.characterise.text import milliseconds

STRETCH_S = 5.0
STEP_POINTS = 400


def draw(path: Path, run: Run, title: str) -> None:
    """Draw all channels with a fit to a PNG file.

    Left: a stretch of the load's random part; right: answers to all single steps that stood long
    enough, falling ones turned over.

    Args:
        path: File to write.
        run: The run.
        title: Above the figure; says if it is simulated.
    """
    from matplotlib.figure import Figure

    shown = [finding for finding in run.findings if finding.fit is not None]
    height = 1.2 + 2.3 * max(len(shown), 1)
    figure = Figure(figsize=(11, height), layout="constrained")
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(max(len(shown), 1), 2, squeeze=False, width_ratios=(2, 1))
    if not shown:
        axes[0][0].text(0.5, 0.5, "no channel follows the load", ha="center", va="center")
    for row, finding in zip(axes, shown, strict=False):
        _stretch(row[0], run, finding)
        _steps(row[1], run, finding)
    figure.savefig(path, dpi=110, format="png")


def _stretch(axis: Any, run: Run, finding: Finding) -> None:
    fit, updates = finding.fit, finding.updates
    assert fit is not None
    assert updates is not None
    wave = finding.wave or run.wave
    begin = run.spans[-1].start_s
    end = min(begin + STRETCH_S, run.spans[-1].end_s)
    t = np.linspace(begin, end, 2000)
    high = run.wave.at(t) * fit.contrast_w + fit.low_w
    axis.fill_between(t, fit.low_w, high, step="post", color="0.9", label="load")
    axis.plot(t, fit.values(wave, t, finding.centre_s), lw=1, color="C1", label="fitted sensor")
    inside = (updates.t_s >= begin) & (updates.t_s <= end)
    axis.plot(updates.t_s[inside], updates.value[inside], ".", color="C0", label="updates")
    sensor = finding.sensor
    parts = [
        f"{name} {milliseconds(getattr(sensor, key), sensor.uncertainty.get(key))}"
        for name, key in (("update", "update_s"), ("window", "window_s"), ("delay", "delay_s"))
    ]
    axis.set_title(f"{sensor.channel}: {', '.join(parts)}, {sensor.averaging}", fontsize=8)
    axis.set_ylabel("W")
    axis.set_xlabel("s", fontsize=8)
    axis.set_ylim(top=fit.low_w + 1.35 * fit.contrast_w)
    axis.legend(fontsize=7, loc="upper right", ncols=3)


def _steps(axis: Any, run: Run, finding: Finding) -> None:
    fit, updates = finding.fit, finding.updates
    assert fit is not None
    assert updates is not None
    reach = 1.3 * fit.window_s * (3 if fit.averaging == "lag" else 1) + max(fit.delay_s, 0) + 0.03
    edges, level = run.wave.t_s, run.wave.level
    value = updates.value - fit.drift_w_per_s * (updates.t_s - finding.centre_s)
    shape = (value - fit.low_w) / fit.contrast_w
    span = np.diff(np.append(edges, np.inf))
    times, answers = [], []
    for k in range(1, len(edges)):
        # Only steps after rest and with room behind them stand alone.
        if span[k - 1] < reach or level[k] == level[k - 1]:
            continue
        inside = (updates.t_s >= edges[k] - 0.02) & (updates.t_s < edges[k] + min(reach, span[k]))
        times.append(updates.t_s[inside] - edges[k])
        answers.append(shape[inside] if level[k] else 1 - shape[inside])
    if times:
        axis.plot(np.concatenate(times) * 1e3, np.concatenate(answers), ".", ms=3, color="C0")
    t = np.linspace(-0.02, reach, STEP_POINTS) - fit.delay_s
    if fit.averaging == "lag":
        model = np.where(t > 0, 1 - np.exp(-np.maximum(t, 0) / fit.window_s), 0.0)
    else:
        model = np.clip(t / max(fit.window_s, 1e-6), 0, 1)
    axis.plot((t + fit.delay_s) * 1e3, model, lw=1, color="C1")
    axis.set_xlabel("ms after a step of the load", fontsize=8)
    axis.set_ylim(-0.15, 1.15)
