"""The results of the query benchmark as Markdown."""

from __future__ import annotations

import statistics
from typing import Any

QUERY_MS, MANY_MS, LOAD_S, FRONT_MS = 0.1, 100.0, 0.5, 1000.0


def page(document: dict[str, Any]) -> str:
    """Return the page.

    Args:
        document: What `run.py` measured.
    """
    mine, others = document["ours"]["timings"], document["theirs"]["timings"]
    loads = {
        key: statistics.median(one[key] for one in document["loads"])
        for key in ("imports_s", "load_s")
    }
    bars = (
        ("query, median", mine["query"]["cpu_median_ms"], QUERY_MS, "ms"),
        ("query_many of 10,000, median", mine["query_many"]["cpu_median_ms"], MANY_MS, "ms"),
        ("wattproof.load, median", loads["load_s"], LOAD_S, "s"),
        (
            "front of 100,000 × 3, median",
            mine["front of 100,000 points, 3 objectives"]["cpu_median_ms"],
            FRONT_MS,
            "ms",
        ),
    )
    lines = [
        "# What a query costs",
        "",
        f"`.venv/bin/python benchmarks/query/run.py` on {document['machine']}; "
        f"{document['benchmark']}, {document['runs']:,} runs (SIMULATED: only times count here). "
        f"Models: {_families(document['families'])}. The machine's load (1 min) was "
        f"{document['load_before']:.1f} before and {document['load_after']:.1f} after: above 1, "
        "others were at work on the same core.",
        "",
        "All configurations are distinct, drawn uniformly over realised networks, and new to the "
        "process that is timed: checking them, realising their networks, encoding, models, "
        "intervals, novelty, and reading the energy's interval from the result are all in the time "
        "(a result makes the objects of its values when they are read: 1 µs each). Bars are by the "
        "processor's time: everything runs in one thread and waits for nothing, so on a core of "
        "its own the wall shows the same; both are told.",
        "",
        "| what | figure | bar | |",
        "|---|---|---|---|",
        *(
            f"| {name} | {value:.3g} {unit} | ≤ {bar:g} {unit} | "
            f"{'met' if value <= bar else '**NOT MET**'} |"
            for name, value, bar, unit in bars
        ),
        "",
        f"Before the first `wattproof.load` a process imports numpy, pandas, pyarrow, ConfigSpace "
        f"and onnxruntime: {loads['imports_s']:.2f} s (median of {len(document['loads'])} fresh "
        f"processes), then loads in {loads['load_s']:.2f} s, checksums of all files included.",
        "",
        "| call | wall, median | wall, p99 | processor, median | n |",
        "|---|---|---|---|---|",
        *(_row(name, timing) for name, timing in {**mine, **others}.items()),
        "",
        "Beside the others, medians of the processor's time in the same run:",
        "",
        *_ratios(mine, others),
        "",
        "**YAHPO-style**: a dictionary validated by ConfigSpace, converted key by key, and one "
        f"onnxruntime graph, a tabular ResNet of {document['theirs']['yahpo_parameters']:,} "
        f"parameters (ours: a graph of {4 * document['theirs']['graph_parameters'] / 1024:.0f} "
        "KiB). It answers neither intervals nor noise nor domain, and no curve. **EA-HAS-style**: "
        "26 features, five networks for a Bézier curve, LightGBM for energy and time through the "
        "scikit-learn interface; one at a time, so 10,000 take 10,000 times as long. What is "
        "simplified favours it (`peers.py` says what). Neither package installs beside ours; their "
        "ways are rebuilt from their sources, their weights are random or briefly fitted.",
    ]
    return "\n".join(lines) + "\n"


def _families(families: dict[str, str]) -> str:
    return ", ".join(f"{target} {family}" for target, family in families.items())


def _row(name: str, timing: dict[str, float]) -> str:
    cells = [f"{timing[key]:.3g} ms" for key in ("median_ms", "p99_ms", "cpu_median_ms")]
    return f"| {name} | {' | '.join(cells)} | {timing['n']:,} |"


def _ratios(mine: dict[str, Any], others: dict[str, Any]) -> list[str]:
    def ratio(slow: str, fast: str, times: float = 1.0) -> float:
        return times * float(others[slow]["cpu_median_ms"] / mine[fast]["cpu_median_ms"])

    return [
        f"- one query: YAHPO-style validated takes {ratio('YAHPO-style, validated', 'query'):.2g} "
        f"times ours (not validated {ratio('YAHPO-style, not validated', 'query'):.2g}), "
        f"EA-HAS-style {ratio('EA-HAS-style', 'query'):.3g} times;",
        "- 10,000: YAHPO-style validated "
        f"{ratio('YAHPO-style, 10,000 validated', 'query_many'):.2g} times ours (not validated "
        f"{ratio('YAHPO-style, 10,000 not validated', 'query_many'):.2g}), EA-HAS-style "
        f"{ratio('EA-HAS-style', 'query_many', 10_000):.3g} times.",
    ]
