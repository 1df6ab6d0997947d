"""Figures of the search demonstration, from its tables; drawn by rule `search`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wattproof.report import style
from wattproof.report.style import COLOURS, Array, Drawing, FigureInfo
from wattproof.search import attainment, statistics
from wattproof.search.methods import TITLES
from wattproof.search.summary import Summary

METHOD_COLOURS = {
    "random": COLOURS["grey"],
    "evolution": "#009E73",
    "nsga2": "#0072B2",
    "tpe": "#D55E00",
    "moasha": "#CC79A7",
}
SOURCE_COLOURS = {"gpu": COLOURS["nvml"], "node": COLOURS["meter"], "smi": COLOURS["smi"]}
SOURCE_TITLES = {"gpu": "calibrated", "node": "meter", "smi": "nvidia-smi"}
COLUMN_IN = 4.6
"""Width of the main figure: in print it stands in one column, so its letters are large for it."""

SHOWN = 0.3
"""Attainment is shown from the lowest error to so much above it."""


def draw_search(
    search: pd.DataFrame,
    front: pd.DataFrame,
    summary: Summary,
    dataset: pd.DataFrame,
    out_dir: Path,
    simulated: bool,
) -> list[FigureInfo]:
    """Draw the demonstration as PNG and SVG.

    Args:
        search: Table ``search``.
        front: Table ``search_front``.
        summary: From `wattproof.search.summarise`.
        dataset: Table ``dataset`` of the benchmark.
        out_dir: Folder for the files; made if absent.
        simulated: Whether any energy comes from a virtual node.

    Returns:
        The main figure ``search`` first.
    """
    figures: tuple[tuple[str, str, Callable[[], Drawing]], ...] = (
        ("search", "Search by a faulty source of energy", lambda: main(search, front, summary)),
        ("search_attainment", "Attainment surfaces", lambda: surfaces(search, front, summary)),
        ("search_ranks", "Rank of methods at any time", lambda: anytime(search, summary)),
        ("search_fault", "Where the faulty source errs", lambda: fault(search, dataset, summary)),
    )
    infos = []
    with style.look():
        for name, title, draw in figures:
            infos.append(style.save(draw(), name, title, out_dir, simulated))
    return infos


def main(search: pd.DataFrame, front: pd.DataFrame, summary: Summary) -> Drawing:
    """Hypervolume by energy really spent, ranks of methods, and what was promised of the picks."""
    from matplotlib import pyplot as plt

    sources = [summary.calibrated, *(o.source for o in summary.against[:1])]
    figure = plt.figure(figsize=(COLUMN_IN, 5.3), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(1.0, 1.05))
    first: Any = None
    for column, source in enumerate(sources):
        axes = figure.add_subplot(grid[0, column], sharey=first, sharex=first)
        first = first or axes
        _progress(axes, search, source)
        axes.set_title(f"{'ab'[column]}  by {_title(source)} energy", fontsize=8.5)
        axes.set_xlabel("really spent (MJ)")
        if column == 0:
            axes.set_ylabel("hypervolume (1 = reference)")
        else:
            axes.tick_params(labelleft=False)
    first.set_xlim(left=0)
    ranks, promise = figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])
    _slopes(ranks, search, summary)
    _promises(promise, front, sources)
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, handlelength=1.4)
    return Drawing(figure, _caption(summary))


def surfaces(search: pd.DataFrame, front: pd.DataFrame, summary: Summary) -> Drawing:
    """Median attainment surfaces of error and energy."""
    sources = [summary.calibrated, *(o.source for o in summary.against)]
    figure, axes = style.new(1, len(sources), height_in=3.4, sharex=True, sharey=True)
    for column, source in enumerate(sources):
        panel = axes[0, column]
        reference = front[front["method"] == "reference"]
        known = attainment.staircase(attainment.points(reference))
        _stairs(panel, known, color="black", lw=0.8, label="reference front")
        for method in statistics.methods_of(search):
            found = front[(front["method"] == method) & (front["source"] == source)]
            surface = attainment.surface(found, 50.0)
            _stairs(panel, surface, color=METHOD_COLOURS[method], label=TITLES[method])
        panel.set_xscale("log")
        style.plain_ticks(panel.xaxis)
        panel.set_title(f"believes: {_title(source)}")
        panel.set_xlabel("calibrated energy of a training (kJ)")
    lowest = 1.0 - float(front["test_accuracy"].max())
    axes[0, 0].set_ylim(lowest - 0.01, lowest + SHOWN)
    axes[0, 0].set_ylabel("test error")
    axes[0, -1].legend()
    return Drawing(
        figure,
        f"Test error and calibrated training energy that half of the {summary.seeds} searches of a "
        "method attain or better (median attainment surface of the published fronts, all "
        "objectives but these two ignored; errors far above the lowest are cut off). Left to "
        "right: the source that the searches believe. Table search_front.",
    )


def anytime(search: pd.DataFrame, summary: Summary) -> Drawing:
    """Mean rank of each method by energy really spent."""
    sources = [summary.calibrated, *(o.source for o in summary.against)]
    figure, axes = style.new(1, len(sources), height_in=3.2, sharex=True, sharey=True)
    methods = statistics.methods_of(search)
    for column, source in enumerate(sources):
        panel = axes[0, column]
        grid_j = search.drop_duplicates("checkpoint").sort_values("checkpoint")["true_j"].to_numpy()
        found = [
            statistics.mean_ranks(statistics.cube(search, source, "hypervolume", at))
            for at in range(len(grid_j))
        ]
        for row, method in enumerate(methods):
            colour = METHOD_COLOURS[method]
            places = np.array([(r[row].value, r[row].low, r[row].high) for r in found])
            panel.plot(grid_j / 1e6, places[:, 0], color=colour, label=TITLES[method])
            panel.fill_between(
                grid_j / 1e6, places[:, 1], places[:, 2], color=colour, alpha=0.15, lw=0
            )
        panel.axvline(summary.budget_j / 1e6, color="black", ls=":", lw=1)
        panel.set_title(f"believes: {_title(source)}")
        panel.set_xlabel("energy really spent (MJ)")
    axes[0, 0].set_ylabel("mean rank (1 = best)")
    axes[0, 0].invert_yaxis()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(methods))
    return Drawing(
        figure,
        f"Mean rank of the methods by hypervolume over {summary.seeds} seeds, with 95 % bootstrap "
        "intervals, against calibrated energy. Dotted: nominal budget; a search that has spent its "
        "budget stays as it is. Table search.",
    )


def fault(search: pd.DataFrame, dataset: pd.DataFrame, summary: Summary) -> Drawing:
    """Ratio of the sources in the measured runs, and energy really spent by the searches."""
    if not summary.against:
        return style.absent("No other source of energy is known for this campaign.")
    source = summary.against[0].source
    name = "smi_energy_j" if source == "smi" else f"energy_j_{source}"
    reference = f"{summary.calibrated}_energy_j"
    figure, axes = style.new(1, 3, height_in=2.9)
    known = dataset
    for column in (name, reference, "time_s"):
        known = known[known[column].notna()] if column in known else known[:0]
    if len(known):
        ratio = (known[name] / known[reference]).to_numpy(dtype=np.float64)
        time_s = known["time_s"].to_numpy(dtype=np.float64)
        power_w = known[reference].to_numpy(dtype=np.float64) / time_s
        epoch_s = time_s / known["epochs"].to_numpy(dtype=np.float64)
        for panel, values, label in (
            (axes[0, 0], power_w, f"mean power, {summary.calibrated} (W)"),
            (axes[0, 1], epoch_s, "time of an epoch (s)"),
        ):
            style.cloud(panel, values, ratio, SOURCE_COLOURS.get(source, COLOURS["smi"]))
            _binned(panel, values, ratio)
            panel.axhline(1.0, color="black", lw=0.8)
            panel.set_xlabel(label)
        axes[0, 0].set_ylabel(f"{_title(source)} / calibrated energy")
    else:
        style.say(axes[0, 0], f"The data set has no energies by {_title(source)}.")
        axes[0, 1].set_axis_off()
    _overspent(axes[0, 2], search, source)
    return Drawing(
        figure,
        f"Left, middle: energy of {len(known)} measured runs as {_title(source)} reports it over "
        "the calibrated one, against mean power and time of an epoch (line: means of tenths). "
        "Right: energy that searches really spent over their nominal budget (points: seeds). "
        "Tables dataset, search.",
    )


def _progress(axes: Any, search: pd.DataFrame, source: str) -> None:
    rows = search[search["source"] == source]
    for method in statistics.methods_of(search):
        wide = rows[rows["method"] == method].pivot(
            index="true_j", columns="seed", values="hypervolume"
        )
        # A method's curve ends where half of its searches have spent their budget.
        ends = float(rows.loc[rows["method"] == method, "total_j"].median()) * (1 + 1e-9)
        wide = wide[wide.index <= ends]
        low, middle, high = np.quantile(wide.to_numpy(), [0.25, 0.5, 0.75], axis=1)
        spent, colour = wide.index.to_numpy(dtype=np.float64) / 1e6, METHOD_COLOURS[method]
        axes.plot(spent, middle, color=colour, label=TITLES[method])
        axes.fill_between(spent, low, high, color=colour, alpha=0.15, lw=0)
    axes.axvline(float(search["budget_j"].iloc[0]) / 1e6, color="black", ls=":", lw=1)


def _slopes(axes: Any, search: pd.DataFrame, summary: Summary) -> None:
    """Mean ranks, side by side: by the calibrated source, by the other, and as that one claims."""
    scores = [statistics.cube(search, summary.calibrated, "hypervolume")]
    labels = [_title(summary.calibrated)]
    for other in summary.against[:1]:
        scores += [
            statistics.cube(search, other.source, column)
            for column in ("hypervolume", "hypervolume_reported")
        ]
        labels += [_title(other.source), f"{_title(other.source)},\nself-scored"]
    found = [statistics.mean_ranks(score) for score in scores]
    methods = statistics.methods_of(search)
    for row, method in enumerate(methods):
        x = np.arange(len(found)) + 0.05 * (row - (len(methods) - 1) / 2)
        y = np.array([[r[row].value, r[row].low, r[row].high] for r in found])
        axes.errorbar(
            x,
            y[:, 0],
            yerr=np.abs(y[:, 1:].T - y[:, 0]),
            color=METHOD_COLOURS[method],
            marker="o",
            ms=4,
            lw=1.2,
            elinewidth=0.8,
        )
    axes.set_xticks(range(len(labels)), labels, fontsize=7.5)
    axes.set_ylim(len(methods) + 0.4, 0.6)
    axes.set_yticks(range(1, len(methods) + 1))
    axes.set_ylabel("mean rank (1 = best)")
    tau = f", τ = {summary.against[0].tau.value:.2f}" if summary.against else ""
    axes.set_title(f"c  ranking of methods{tau}", fontsize=8.5)


def _promises(axes: Any, front: pd.DataFrame, sources: list[str]) -> None:
    picks = front[front["energy_reported_j"].notna()]
    for source in reversed(sources):
        some = picks[picks["source"] == source]
        axes.scatter(
            some["energy_reported_j"] / 1e3,
            some["energy_j"] / 1e3,
            s=5,
            lw=0,
            alpha=0.5,
            color=SOURCE_COLOURS.get(source, COLOURS["smi"]),
            label=_title(source),
            rasterized=True,
        )
    both = picks[["energy_reported_j", "energy_j"]].to_numpy(dtype=np.float64) / 1e3
    span = np.array([both.min(), both.max()])
    axes.plot(span, span, color="black", lw=0.8)
    axes.loglog()
    for axis in (axes.xaxis, axes.yaxis):
        style.plain_ticks(axis)
    axes.set_xlabel("reported (kJ)")
    axes.set_ylabel("really needed (kJ)")
    axes.set_title("d  what they pick", fontsize=8.5)
    axes.legend(loc="lower right", markerscale=2.5, handletextpad=0.1, borderpad=0.1)


def _stairs(axes: Any, curve: tuple[Array, Array], **more: Any) -> None:
    energy_j, error = curve
    axes.step(energy_j / 1e3, error, where="post", **more)


def _binned(axes: Any, x: Array, y: Array) -> None:
    """Means of y in tenths of x."""
    parts = np.array_split(np.argsort(x, kind="stable"), 10)
    parts = [part for part in parts if len(part)]
    axes.plot(
        [x[part].mean() for part in parts],
        [y[part].mean() for part in parts],
        color="black",
    )


def _overspent(axes: Any, search: pd.DataFrame, source: str) -> None:
    methods = statistics.methods_of(search)
    ratio = statistics.cube(search, source, "total_j") / statistics.cube(search, source, "budget_j")
    for row, method in enumerate(methods):
        axes.plot(
            ratio[row],
            np.full(len(ratio[row]), row),
            "o",
            ms=4,
            alpha=0.6,
            color=METHOD_COLOURS[method],
        )
    axes.set_yticks(range(len(methods)), [TITLES[m] for m in methods])
    axes.axvline(1.0, color="black", lw=0.8)
    axes.set_xlabel("really spent / budget")
    axes.set_ylim(len(methods) - 0.5, -0.5)


def _caption(summary: Summary) -> str:
    return (
        f"a, b: hypervolume of the fronts that searches would publish (median and quartiles of "
        f"{summary.seeds} seeds; scored on test data by calibrated energies; 1 = front of random "
        "configurations) against calibrated energy spent; dotted: nominal budget. c: mean rank of "
        "the methods at the end of their searches, 95 % bootstrap intervals; self-scored: as the "
        "faulty source's own energies would have it. d: energy of the configurations picked, as "
        "reported and as needed. Tables search, search_front."
    )


def _title(source: str) -> str:
    return SOURCE_TITLES.get(source, source)
