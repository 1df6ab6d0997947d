"""The card of a benchmark for people: what was measured, with what, how far to trust it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wattproof.benchmark.results import BANNER

UNITS = {"1": "", "J": " J", "s": " s", "W": " W"}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))
"""Words of Hugging Face for the number of rows."""


def write(facts: Mapping[str, Any], targets: Mapping[str, Mapping[str, str]]) -> str:
    """Return the card as Markdown, with a head that Hugging Face understands.

    Args:
        facts: Content of ``card.json``.
        targets: Unit, meaning and direction of each target.
    """
    surrogate = facts["surrogate"]
    sections = [
        _head(facts),
        f"# Benchmark {facts['name']}",
        *([f"> **{BANNER}**"] if facts["simulated"] else []),
        "## What was measured\n\n" + _measured(facts),
        "## With what\n\n" + _instruments(facts),
        "## How far to trust it\n\n" + _trust(facts),
        "## Known limits\n\n" + "\n".join(f"- {limit}" for limit in facts["limits"]),
        "## Scores on held-out networks\n\n" + _scores(surrogate, targets),
        *_more(surrogate),
        "## What making it cost\n\n" + _cost(facts),
        "## Use\n\n" + _use(facts["name"]),
        f"## Licence and citation\n\nData: {facts['licence']}.\n\n{facts['citation']}",
        "## How it was made\n\n" + _made(facts["made_by"]),
    ]
    return "\n\n".join(sections) + "\n"


def _head(facts: Mapping[str, Any]) -> str:
    rows = facts["data"]["epochs"]
    size = next((words for limit, words in SIZES if rows < limit), "1M<n<10M")
    tags = ["energy", "nas", "hpo", "benchmark", "wattproof"]
    tags += ["simulated"] if facts["simulated"] else []
    lines = [
        "---",
        f"license: {json.dumps(facts['licence'].lower())}",
        f"pretty_name: {json.dumps(facts['name'])}",
        "tags:",
        *(f"- {tag}" for tag in tags),
        "size_categories:",
        f"- {size}",
        "configs:",
        *(f"- config_name: {n}\n  data_files: {n}.parquet" for n in ("dataset", "curves")),
        "---",
    ]
    return "\n".join(lines)


def _measured(facts: Mapping[str, Any]) -> str:
    trained = facts["trained"]
    on = f" on {trained['dataset']}" if "dataset" in trained else ""
    text = (
        f"Networks of search space {trained['space']}{on}. Energy is that of "
        f"{facts['energy']['scope_in_words']}, of all epochs (training and validation) so far, in "
        "joules; accuracy is that on validation images, 0 to 1."
    )
    return text + "\n\n" + "\n".join(f"- {sentence}" for sentence in facts["data_in_words"])


def _instruments(facts: Mapping[str, Any]) -> str:
    lines = []
    for source, devices in sorted(facts["instruments"].items()):
        for device, about in sorted(devices.items()):
            known = about.items() if isinstance(about, dict) else [("model", about)]
            words = ", ".join(f"{key} {value}" for key, value in known if value is not None)
            lines.append(f"- {source}: {device}" + (f" ({words})" if words else ""))
    if facts["host"] and facts["host"] not in facts["instruments"].get("host", {}):
        lines.append(f"- host: {facts['host']}")
    return "\n".join(lines) or "The data set names no instruments."


def _trust(facts: Mapping[str, Any]) -> str:
    lines = [f"- {name}: {by}." for name, by in facts["energy"]["provenance"].items()]
    share = facts["energy"]["share_outside_epochs"]
    if share is not None:
        lines.append(
            f"- Share of a run's energy that lies outside of its epochs: median {share:.1%}."
        )
    families = ", ".join(f"{t}: {name}" for t, name in facts["surrogate"]["families"].items())
    lines.append(
        f"- Published models, chosen by held-out error and cost: {families}. Power is energy over "
        "time."
    )
    lines.append(
        "- Intervals are conformal, from residuals of runs whose network the model had not seen."
    )
    return "\n".join(lines)


def _scores(surrogate: Mapping[str, Any], targets: Mapping[str, Mapping[str, str]]) -> str:
    head = (
        "| target | model | n | R² | Kendall τ | best possible τ | MAE | MAPE | noise | interval "
        "covers | its width |\n|---|---|---|---|---|---|---|---|---|---|---|"
    )
    lines, refused = [], []
    for row in surrogate["scores"]:
        target = row["target"]
        unit = UNITS.get(targets.get(target, {}).get("unit", ""), "")
        cells = [
            target,
            f"{row['model']}, {row['curve']}" if row.get("curve") else str(row["model"]),
            str(row["n"]),
            number(row.get("r2"), ".3f"),
            number(row.get("kendall_tau"), ".3f"),
            number(row.get("kendall_tau_ceiling"), ".3f"),
            number(row.get("mae"), ".3g", unit),
            number(row.get("mape"), ".1%"),
            number(row.get("noise"), ".1%"),
            number(row.get("coverage"), ".1%"),
            number(row.get("width"), ".3g", unit),
        ]
        lines.append("| " + " | ".join(cells) + " |")
        if row.get("refused"):
            refused.append(f"- {target}: {row['refused']}.")
    split = ", ".join(dict.fromkeys(str(row["split"]) for row in surrogate["scores"]))
    text = (
        f"Split: {split}. The noise is that of the trainings themselves (between seeds): no model "
        "can be better, and the best possible τ is what a model without any error would reach. "
        "Table scores.parquet compares all models that were tried.\n\n" + head + "\n"
    ) + "\n".join(lines)
    return text + ("\n\nMissing figures:\n\n" + "\n".join(refused) if refused else "")


def _more(surrogate: Mapping[str, Any]) -> list[str]:
    return [
        *(_coverage(surrogate["coverage"]) if surrogate["coverage"] else ()),
        *(_growth(surrogate["growth"]) if surrogate["growth"] else ()),
        *(_outside(surrogate["out_of_domain"]) if surrogate["out_of_domain"] else ()),
    ]


def _coverage(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    lines = [
        f"| {row['target']} | {row['stratum']} | {number(row['level'], '.0%')} | "
        f"{number(row['coverage'], '.1%')} ± {number(row['standard_error'], '.1%')} | "
        f"{number(row['width_ratio'], '.2f')} | {row['verdict']} |"
        for row in rows
    ]
    splits = ", ".join(dict.fromkeys(str(row["split"]) for row in rows))
    yield (
        f"## Coverage of the intervals\n\nSplit: {splits}; more strata in coverage.parquet.\n\n"
        "| target | of | nominal | covered | width over that of noise alone | verdict |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(lines)
    )


def _growth(growth: Mapping[str, Any]) -> Iterator[str]:
    sizes = sorted({int(n) for one in growth.values() for n in one["kendall_tau"]})
    lines = [
        f"| {target} | "
        + " | ".join(number(one["kendall_tau"].get(str(n)), ".3f") for n in sizes)
        + " |"
        for target, one in growth.items()
    ]
    words = [f"- {t}: {one['more_runs']}" for t, one in growth.items() if one["more_runs"]]
    yield (
        "## Kendall τ against the number of trained networks\n\n| target | "
        + " | ".join(f"{n:,}" for n in sizes)
        + " |\n|"
        + "---|" * (len(sizes) + 1)
        + "\n"
        + "\n".join(lines)
        + ("\n\n" + "\n".join(words) if words else "")
    )


def _outside(proof: Mapping[str, Any]) -> Iterator[str]:
    if proof.get("auroc") is None:
        return
    yield (
        f"## Outside of what was trained\n\nAUROC of `in_domain`'s score: "
        f"{number(proof['auroc'], '.3f')} (worst region {number(proof.get('worst'), '.3f')}), "
        f"false alarms {number(proof.get('false_alarms'), '.1%')}. {proof.get('definition', '')}"
    )


def _cost(facts: Mapping[str, Any]) -> str:
    cost = facts["cost"]
    parts = []
    for scope, words in (("node", "the whole node"), ("gpu", "the GPUs alone")):
        if cost[f"{scope}_kwh"] is not None:
            parts.append(
                f"{cost[f'{scope}_kwh']:.4g} kWh of {words} ({cost[f'{scope}_runs']} of "
                f"{cost['runs']} runs known)"
            )
    known = "; ".join(parts) if parts else "energies unknown"
    return (
        f"All {cost['runs']} trainings, failed ones included: {known}, in {cost['hours']:.4g} "
        "hours of training. Calibration loads and the time between trainings are not in it."
        + (" The energies are simulated ones." if facts["simulated"] else "")
    )


def _use(name: str) -> str:
    return (
        f'```python\nimport wattproof\n\nbench = wattproof.load("{name}.wattproof.zip")'
        "  # or this folder\n"
        "config = bench.sample(seed=0)\nprint(bench.query(config))\n"
        "bench.curve(config)\nbench.pareto()\n```"
    )


def _made(made_by: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in made_by.items() if k != "commands")
    commands = "\n".join(made_by["commands"])
    return f"With {versions}:\n\n```\n{commands}\n```"


def number(value: float | None, form: str, unit: str = "") -> str:
    """Return a figure for people; unknown ones as a dash."""
    return "–" if value is None else f"{value:{form}}{unit}"
