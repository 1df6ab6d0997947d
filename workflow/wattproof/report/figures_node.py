"""Figures of the whole node: estimators against the meter, parts of the energy, the dataset."""

from __future__ import annotations

import numpy as np

from wattproof.report.figures_epochs import estimate_windows
from wattproof.report.inputs import ReportInputs
from wattproof.report.select import (
    PARTS,
    estimator_labels,
    floats,
    is_code_carbon,
    node_parts,
    run_of_example,
)
from wattproof.report.style import (
    COLOURS,
    Drawing,
    absent,
    cloud,
    legend_below,
    new,
    series_colours,
)

SETTINGS = {"single": COLOURS["balance"], "packed": COLOURS["rapl"], "ddp": COLOURS["host"]}
"""Colours of the settings of runs."""


def best_estimator(inputs: ReportInputs) -> str | None:
    """The estimator with the smallest held-out maximum error, or None."""
    known = inputs.calibration[inputs.calibration["error_max"].notna()]
    if known.empty:
        return None
    return str(known.iloc[int(np.argmin(floats(known["error_max"])))]["estimator"])


def node_over_time(inputs: ReportInputs) -> Drawing:
    """Figure 6: node power over the epochs of one run, estimates against the meter."""
    rows = estimate_windows(inputs)
    rows = rows[np.isfinite(floats(rows["mean_w"]))]
    labels = estimator_labels(inputs)
    shown = [n for n in labels if is_code_carbon(n)]
    best = best_estimator(inputs)
    if best is not None and best not in shown:
        shown.append(best)
    rows = rows[rows["estimator"].isin(shown)]
    if rows.empty:
        return absent("No epoch has an estimate of the node's power.")
    run = run_of_example(inputs)
    wanted = None if run is None else run["run_id"]
    if wanted is None or not (rows["run_id"] == wanted).any():
        wanted = rows["run_id"].value_counts().sort_index().idxmax()
    rows = rows[rows["run_id"] == wanted].sort_values("start_ns")
    figure, axes = new(1, 1, 3.8)
    panel = axes[0, 0]
    meter = rows.drop_duplicates("window_id")
    meter = meter[np.isfinite(meter["reference_w"].to_numpy(float))]
    if len(meter):
        panel.step(
            floats(meter["epoch"]) + 1,
            meter["reference_w"],
            where="mid",
            color=COLOURS["meter"],
            label=f"meter (n = {len(meter)})",
        )
    for name, colour in series_colours(shown).items():
        own = rows[rows["estimator"] == name]
        if own.empty:
            continue
        x = floats(own["epoch"]) + 1
        panel.step(
            x, own["mean_w"], where="mid", color=colour, label=f"{labels[name]} (n = {len(own)})"
        )
        if np.isfinite(own[["low_w", "high_w"]].to_numpy(float)).all():
            panel.fill_between(
                x, own["low_w"], own["high_w"], step="mid", color=colour, alpha=0.15, lw=0
            )
    panel.set_xlabel("epoch")
    panel.set_ylabel("mean node power (W)")
    panel.set_title(f"Run {wanted}")
    panel.xaxis.get_major_locator().set_params(integer=True)
    legend_below(panel, 2)
    return Drawing(
        figure,
        "Node power per epoch of one run: Code Carbon's rules"
        + (f", the best calibrated estimator ({labels.get(best, best)})" if best else "")
        + (" and the meter" if len(meter) else "; there is no meter to compare with")
        + ". Shaded: stated 90 % intervals.",
    )


def estimator_errors(inputs: ReportInputs) -> Drawing:
    """Figure 8: box plot of the relative energy error of a run, by estimator."""
    runs = inputs.estimates[
        (inputs.estimates["level"] == "run") & (inputs.estimates["setting"] != "calibration")
    ]
    labels = estimator_labels(inputs)
    known = runs[np.isfinite(floats(runs["relative_error"]))]
    found = {label: known[known["estimator"] == name] for name, label in labels.items()}
    found = {label: rows for label, rows in found.items() if len(rows)}
    data = {label: floats(rows["relative_error"]) * 100 for label, rows in found.items()}
    if not data:
        return absent("No run has both an estimate and a meter's energy.")
    figure, axes = new(1, 1, 1.3 + 0.42 * len(data))
    panel = axes[0, 0]
    panel.boxplot(
        list(data.values()),
        orientation="horizontal",
        whis=(0, 100),
        widths=0.55,
        patch_artist=True,
        boxprops={"facecolor": "#BBD9EC", "edgecolor": COLOURS["nvml"]},
        whiskerprops={"color": COLOURS["nvml"]},
        capprops={"color": COLOURS["nvml"]},
        medianprops={"color": COLOURS["smi"], "lw": 1.8},
    )
    for i, (label, values) in enumerate(data.items(), start=1):
        spread = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(1)
        setting = found[label]["setting"].to_numpy()
        for name, colour in SETTINGS.items():
            cloud(panel, values[setting == name], i + spread[setting == name], colour)
    panel.set_yticks(
        range(1, len(data) + 1), [f"{label} (n = {len(v)})" for label, v in data.items()]
    )
    panel.invert_yaxis()
    panel.axvline(0, color=COLOURS["grey"], lw=0.9)
    panel.grid(axis="y", visible=False)
    # Two lines: long names of estimators leave little width under the axis.
    panel.set_xlabel("(meter − estimate) / meter, energy of a run (%)\nright of 0: underestimate")
    settings = [name for name in SETTINGS if name in set(known["setting"])]
    if len(settings) > 1:
        dots = [cloud(panel, floats([]), floats([]), SETTINGS[name]) for name in settings]
        panel.legend(dots, settings, title="points: setting")
    return Drawing(
        figure,
        "Relative energy error of each estimator over the runs (held out, where it is fitted). "
        "Box: quartiles; line: median; whiskers: smallest and largest; points: runs.",
    )


def parts(inputs: ReportInputs) -> Drawing:
    """Shares of the node's energy: GPU, CPU, DRAM and the rest that no sensor on it sees."""
    energy = node_parts(inputs)
    if energy.empty:
        return absent(
            "No run has the energies of node, GPUs and CPUs together, so the node's energy cannot "
            "be taken apart."
        )
    energy = energy.sort_values(["node_j", "window_id"])
    no_dram = bool(energy["DRAM"].isna().all())
    figure, axes = new(1, 1, 3.2)
    panel = axes[0, 0]
    x = np.arange(1, len(energy) + 1)
    left = np.zeros(len(energy))
    colours = (COLOURS["nvml"], COLOURS["smi"], COLOURS["rapl"], "#999999")
    for part, colour in zip(PARTS, colours, strict=True):
        if energy[part].isna().all():
            continue  # no DRAM counter on this node
        energy[part] = energy[part].fillna(0.0)
        share = (energy[part] / energy["node_j"]).to_numpy(float) * 100
        total = energy[part].sum() / energy["node_j"].sum() * 100
        panel.bar(x, share, 0.86, bottom=left, color=colour, label=f"{part} {total:.0f} %")
        left = left + share
    panel.set_xlabel("runs, by node energy")
    panel.set_ylabel("share of node energy (%)")
    panel.set_title(f"Where the energy goes (n = {len(energy)} runs)")
    panel.grid(axis="x", visible=False)
    panel.xaxis.get_major_locator().set_params(integer=True)
    legend_below(panel, 4)
    return Drawing(
        figure,
        "Meter's energy of each run split into what NVML (all GPUs) and RAPL (CPU, DRAM) see and "
        "the rest, which no sensor of the node sees (off-socket: board, fans, power supplies"
        + (", and memory, which has no counter here" if no_dram else "")
        + "). Legend: share over all runs. Packed runs are left out: they share the node.",
    )


def dataset(inputs: ReportInputs) -> Drawing:
    """What the benchmark is for: accuracy against energy, a point a run."""
    rows = inputs.dataset[inputs.dataset["status"] == "ok"]
    accuracy = "test_accuracy" if rows["test_accuracy"].notna().any() else "val_accuracy"
    rows = rows[rows[accuracy].notna() & rows["node_energy_j"].notna()]
    if rows.empty:
        return absent("No finished run has both an accuracy and a node energy.")
    figure, axes = new(1, 1, 3.4)
    panel = axes[0, 0]
    x, y = floats(rows["node_energy_j"]) / 1e3, floats(rows[accuracy]) * 100
    low, high = (floats(rows[f"node_energy_{end}_j"]) / 1e3 for end in ("low", "high"))
    bounded = np.isfinite(low) & np.isfinite(high)
    if bounded.any():
        bars = np.vstack([x - low, high - x])[:, bounded].clip(min=0)
        panel.errorbar(
            x[bounded], y[bounded], xerr=bars, fmt="none", ecolor=COLOURS["grey"], elinewidth=0.8
        )
    cloud(panel, x, y, COLOURS["nvml"])
    panel.set_xlabel("node energy of the training (kJ)")
    panel.set_ylabel(f"{accuracy.replace('_', ' ')} (%)")
    networks = rows["network_key"].nunique()
    panel.set_title(f"n = {len(rows)} runs of {networks} networks")
    by = ", ".join(sorted(rows["node_energy_by"].astype(str).unique()))
    return Drawing(
        figure,
        f"Accuracy and node energy of the finished runs. Node energy by: {by}. Bars: lower and "
        "upper bound, where they are known.",
    )
