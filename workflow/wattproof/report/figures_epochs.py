"""Figures over all trainings, an epoch a point: sampling, distributions, utilisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.report.inputs import ReportInputs
from wattproof.report.select import (
    balance_windows,
    estimator_labels,
    finite,
    floats,
    gpu_windows,
    is_code_carbon,
    setting_name,
    source_name,
)
from wattproof.report.style import COLOURS, Drawing, absent, cloud, ecdf, new, say, series_colours

MIN_PEARSON = 3
"""Fewer points have no correlation worth a number in a title."""


def sample_ratio(inputs: ReportInputs) -> Drawing:
    """Figure 3: GPU power against SMI's sample ratio, a point an epoch."""
    epochs = gpu_windows(inputs, "smi")
    ratio = floats(epochs["samples"]) / floats(epochs["expected"]).clip(min=1e-12)
    epochs = epochs.assign(ratio=ratio).dropna(subset=["ratio"])
    if epochs.empty:
        return absent("No epoch was sampled by SMI at a known rate.")
    reference = balance_windows(inputs).set_index("window_id")["mean_w"]
    truth = floats(reference.reindex(epochs["window_id"]))
    figure, axes = new(1, 2, 3.3, sharex=True, sharey=True)
    panels = (
        ("As SMI reports it", floats(epochs["mean_w"]), COLOURS["smi"]),
        ("By node balance", truth, COLOURS["balance"]),
    )
    drawn = False
    for panel, (title, watts, colour) in zip(axes[0], panels, strict=True):
        good = np.isfinite(watts)
        if not good.any():
            say(panel, f"{title}: no epoch has a power.")
            continue
        cloud(panel, epochs["ratio"].to_numpy(float)[good], watts[good], colour)
        panel.set_title(f"{title} (n = {int(good.sum())} epochs)")
        panel.set_xlabel("sample ratio: taken / expected")
        if not drawn:
            panel.set_ylabel("mean GPU power of the epoch (W)")
        drawn = True
    axes[0, 0].set_xlim(left=0)
    without = int(epochs["mean_w"].isna().sum())
    return Drawing(
        figure,
        "SMI's samples per epoch, over what its period promises, against the power of the epoch. "
        f"Epochs without a power by SMI, because too little of them was covered: {without} of "
        f"{len(epochs)}.",
    )


def _settings(frame: pd.DataFrame) -> list[str]:
    """Panels: single and multi-GPU always (as in the paper), packed runs where there are any."""
    more = ["packed"] if (frame["setting"] == "packed").any() else []
    return ["single", *more, "ddp"]


def _ecdf_panels(
    series: dict[str, tuple[pd.DataFrame, str, str]], xlabel: str, settings: list[str]
) -> tuple[Any, list[str]]:
    """Draw one eCDF panel a setting; return the figure and the settings that have data."""
    figure, axes = new(1, len(settings), 3.4)
    filled = []
    for panel, setting in zip(axes[0], settings, strict=True):
        for label, (frame, colour, style) in series.items():
            values = finite(frame.loc[frame["setting"] == setting, "mean_w"])
            if len(values):
                ecdf(panel, values, colour, label, style)
        if not panel.lines:
            say(panel, f"No epoch of the setting “{setting}” ({setting_name(setting)}).")
            continue
        filled.append(setting)
        panel.set_title(f"{setting}: {setting_name(setting)}")
        panel.set_xlabel(xlabel)
        if len(filled) == 1:
            panel.set_ylabel("cumulative share of epochs")
        panel.legend(loc="best")
    return figure, filled


def epoch_power(inputs: ReportInputs) -> Drawing:
    """Figure 4: eCDFs of epoch power over all trainings, SMI and NVML against the balance."""
    series = {
        "node balance": (balance_windows(inputs), COLOURS["balance"], "-"),
        **{
            source_name(s): (gpu_windows(inputs, s), COLOURS[s], "--" if s == "nvml" else "-")
            for s in ("smi", "nvml")
        },
    }
    everything = pd.concat([frame[["setting", "mean_w"]] for frame, _, _ in series.values()])
    if finite(everything["mean_w"]).size == 0:
        return absent("No epoch has a GPU power by any source.")
    figure, filled = _ecdf_panels(series, "mean GPU power of an epoch (W)", _settings(everything))
    return Drawing(
        figure,
        "Distribution of the epochs' mean GPU power over all trainings; an epoch counts for a "
        f"source only where its coverage was sufficient. Settings with data: {', '.join(filled)}.",
    )


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    if len(x) < MIN_PEARSON or np.ptp(x) == 0 or np.ptp(y) == 0:
        return "r refused: too few or constant values"
    return f"r = {np.corrcoef(x, y)[0, 1]:.2f}"


def utilisation(inputs: ReportInputs, source: str = "nvml") -> Drawing:
    """Figure 5: GPU power against utilisation and memory utilisation, 2 × 2."""
    power = gpu_windows(inputs, source)
    if power.empty:
        source = "smi"
        power = gpu_windows(inputs, source)
    use = inputs.utilisation
    by_slot = use.merge(
        power[power["slot"].notna()].astype({"slot": "Int64"}), on=["window_id", "slot"]
    )
    # A run on several GPUs has one window: its utilisation is the mean over them.
    both = ["utilisation_percent", "memory_utilisation_percent"]
    mean = use.groupby("window_id", as_index=False)[both].mean()
    joined = pd.concat([by_slot, mean.merge(power[power["slot"].isna()], on="window_id")])
    joined = joined[np.isfinite(floats(joined["mean_w"]))]
    if joined.empty:
        return absent("No epoch has both a GPU power and a utilisation.")
    settings = ["single", "ddp"]
    if not (joined["setting"] == "ddp").any() and (joined["setting"] == "packed").any():
        settings[1] = "packed"
    figure, axes = new(2, 2, 5.4)
    for row, (column, label) in enumerate(
        zip(both, ("GPU utilisation (%)", "GPU memory utilisation (%)"), strict=True)
    ):
        for panel, setting in zip(axes[row], settings, strict=True):
            chosen = joined[joined["setting"] == setting]
            x, y = floats(chosen[column]), floats(chosen["mean_w"])
            good = np.isfinite(x)
            x, y = x[good], y[good]
            if len(x) == 0:
                say(panel, f"No epoch of the setting “{setting}” ({setting_name(setting)}).")
                continue
            cloud(panel, x, y, COLOURS["nvml"])
            panel.set_title(f"{setting}: n = {len(x)}, {_pearson(x, y)}")
            panel.set_xlabel(label)
            panel.set_ylabel("mean GPU power (W)")
    watts = finite(joined["mean_w"])
    return Drawing(
        figure,
        f"GPU power by {source_name(source)} against utilisation, a point an epoch. Power over "
        f"all epochs: {watts.min():.0f} to {watts.max():.0f} W.",
    )


def estimate_windows(inputs: ReportInputs) -> pd.DataFrame:
    """Epoch estimates as powers: adds mean_w, low_w, high_w, reference_w and start_ns."""
    estimates = inputs.estimates[
        (inputs.estimates["level"] == "epoch") & (inputs.estimates["setting"] != "calibration")
    ]
    windows = inputs.windows[["window_id", "start_ns", "end_ns"]]
    joined = estimates.merge(windows, on="window_id")
    seconds = (joined["end_ns"] - joined["start_ns"]).astype("int64").to_numpy() / 1e9
    for new_name, column in (
        ("mean_w", "energy_j"),
        ("low_w", "lower_j"),
        ("high_w", "upper_j"),
        ("reference_w", "reference_j"),
    ):
        joined[new_name] = floats(joined[column]) / np.where(seconds > 0, seconds, np.nan)
    return joined


def node_epoch_power(inputs: ReportInputs) -> Drawing:
    """Figure 7: eCDF of epoch node power, Code Carbon against the meter, over all trainings."""
    rows = estimate_windows(inputs)
    labels = estimator_labels(inputs)
    own = [name for name in labels if is_code_carbon(name) and (rows["estimator"] == name).any()]
    if not own:
        return absent("No epoch has an estimate by a rule of Code Carbon.")
    meter = rows.drop_duplicates("window_id").copy()
    meter["mean_w"] = meter["reference_w"]
    colours = series_colours(own)
    series = {"meter": (meter, COLOURS["meter"], "-")}
    for name in own:
        series[labels[name]] = (rows[rows["estimator"] == name], colours[name], "-")
    figure, filled = _ecdf_panels(series, "mean node power of an epoch (W)", _settings(rows))
    has_meter = finite(meter["mean_w"]).size > 0
    return Drawing(
        figure,
        "Distribution of the epochs' mean node power over all trainings. "
        + ("" if has_meter else "There is no meter to compare with. ")
        + f"Settings with data: {', '.join(filled)}.",
    )
