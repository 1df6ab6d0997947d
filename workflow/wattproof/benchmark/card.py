"""The card of a benchmark: what was measured, with what, and how far to trust it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from wattproof import tables
from wattproof.benchmark.results import BANNER

UNITS = {"accuracy": "", "energy_j": " J", "time_s": " s", "power_w": " W"}


def write(
    name: str,
    dataset: pd.DataFrame,
    curves: pd.DataFrame,
    scores: pd.DataFrame,
    about: Mapping[str, Any],
    meta: tables.Meta,
    simulated: bool,
    licence: str,
) -> str:
    """Return the card as Markdown.

    Args:
        name: Name of the campaign.
        dataset: Table ``dataset``.
        curves: Table ``curves``.
        scores: Table ``scores``.
        about: Content of ``surrogate.json``.
        meta: Provenance of the data set.
        simulated: Whether any energy comes from a virtual node.
        licence: Licence of the data.
    """
    sections = [
        f"# Benchmark {name}",
        *([f"> **{BANNER}**"] if simulated else []),
        "## What was measured\n\n" + _measured(dataset, curves, about),
        "## With what\n\n" + _instruments(meta),
        "## How far to trust it\n\n" + _trust(dataset, curves, about),
        "## Scores on held-out networks\n\n" + _scores(scores, about),
        "## Use\n\n```python\nimport wattproof\n\n"
        'bench = wattproof.load("path/of/this/folder")\n'
        "config = bench.sample(seed=0)\nprint(bench.query(config))\n"
        "bench.curve(config)\nbench.pareto()\n```",
        f"## Licence\n\nData: {licence}.",
    ]
    return "\n\n".join(sections) + "\n"


def _measured(dataset: pd.DataFrame, curves: pd.DataFrame, about: Mapping[str, Any]) -> str:
    good = dataset[dataset["status"] == "ok"]
    failed = len(dataset) - len(good)
    return (
        f"{len(good)} trainings of {good['network_key'].nunique()} distinct networks, "
        f"{len(curves)} epochs; {failed} more trainings failed and are in the data set without "
        f"metrics. Energy is that of the {_scope(about)}, of all epochs (training and validation) "
        "so far, in joules; accuracy is that on validation images, 0 to 1. Start-up and the final "
        "test are not in the energy of a query."
    )


def _scope(about: Mapping[str, Any]) -> str:
    return "whole node" if about["energy_scope"] == "node" else "GPU alone"


def _instruments(meta: tables.Meta) -> str:
    lines = []
    for source, devices in sorted(meta.instruments.items()):
        for device, facts in sorted(devices.items()):
            known = facts.items() if isinstance(facts, dict) else [("model", facts)]
            words = ", ".join(f"{key} {value}" for key, value in known if value is not None)
            lines.append(f"- {source}: {device}" + (f" ({words})" if words else ""))
    if meta.host:
        lines.append(f"- host: {meta.host}")
    return "\n".join(lines) or "The data set names no instruments."


def _trust(dataset: pd.DataFrame, curves: pd.DataFrame, about: Mapping[str, Any]) -> str:
    good = dataset[dataset["status"] == "ok"]
    origin = Counter(by or "unknown" for by in good["node_energy_by"])
    lines = [f"- Node energy of the runs by: {_counts(origin)}."]
    half = (good["node_energy_high_j"] - good["node_energy_low_j"]) / 2 / good["node_energy_j"]
    if half.notna().any():
        lines.append(
            f"- Measurement uncertainty of a run's node energy (half of the 90 % interval): "
            f"median {half.median():.2%}, largest {half.max():.2%}."
        )
    column = f"{about['energy_scope']}_energy_j"
    sums = curves.groupby("run_id")[column].sum(min_count=1)
    outside = 1 - good["run_id"].map(sums) / good[column]
    if outside.notna().any():
        lines.append(
            f"- Share of a run's energy that lies outside of its epochs: median "
            f"{outside.median():.1%}."
        )
    flags = Counter(flag for some in good["flags"] for flag in some)
    lines.append(f"- Quality flags of runs: {_counts(flags) if flags else 'none'}.")
    families = ", ".join(f"{t}: {m['family']}" for t, m in sorted(about["models"].items()))
    lines.append(
        f"- Published models, chosen by held-out error: {families}. Power is energy over time."
    )
    lines.append(
        "- Intervals are conformal, from residuals of runs whose network the model had not seen. "
        "They hold for configurations like the trained ones; `in_domain` says where not."
    )
    return "\n".join(lines)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(counter.items()))


def _scores(scores: pd.DataFrame, about: Mapping[str, Any]) -> str:
    families = {target: model["family"] for target, model in about["models"].items()}
    families["power_w"] = families["energy_j"]
    head = (
        "| target | model | n | R² | Kendall τ | MAE | MAPE | coverage | width | replicate CV |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )
    lines, refused = [], []
    for row in scores.to_dict("records"):
        target, unit = str(row["target"]), UNITS[str(row["target"])]
        published = families[target] == row["model"]
        cells = [
            target,
            f"**{row['model']}**" if published else str(row["model"]),
            str(row["n"]),
            _number(row["r2"], ".3f"),
            _number(row["kendall_tau"], ".3f"),
            _number(row["mae"], ".3g", unit),
            _number(row["mape"], ".1%"),
            _number(row["coverage"], ".1%"),
            _number(row["width"], ".3g", unit),
            _number(row["noise"], ".1%"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
        if row["refused"]:
            refused.append(f"- {target}, {row['model']}: {row['refused']}.")
    split = ", ".join(_unique(scores["split"]))
    text = f"Split: {split}. Published models in bold.\n\n{head}\n" + "\n".join(lines)
    return text + ("\n\nMissing figures:\n\n" + "\n".join(refused) if refused else "")


def _unique(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values))


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None or pd.isna(value) else f"{value:{form}}{unit}"
