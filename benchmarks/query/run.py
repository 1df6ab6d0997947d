"""What a query costs, on one core, beside two known ways to answer the same question.

Usage: python benchmarks/query/run.py [--benchmark results/virtual_2000/benchmark] [--quick]

The benchmark is the one that `snakemake --configfile config/campaigns/virtual_2000.yaml` makes (a
folder or an archive). All configurations are distinct and never asked before in their process.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from page import page
from peers import EaHas, Yahpo

import wattproof
from wattproof.benchmark.fronts import non_dominated

RESULTS = Path(__file__).parent / "results"
MANY = 10_000

LOAD = """
import json, sys, time
start = time.perf_counter()
import wattproof, wattproof.benchmark.api, onnxruntime
imported = time.perf_counter()
bench = wattproof.load(sys.argv[1])
loaded = time.perf_counter()
print(json.dumps([imported - start, loaded - imported]))
"""


def each(call: Callable[[Any], Any], items: Iterable[Any]) -> dict[str, float]:
    """Time a call for each item; milliseconds of wall and of processor."""
    walls, cpus = [], []
    for item in items:
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        call(item)
        walls.append(time.perf_counter_ns() - wall)
        cpus.append(time.process_time_ns() - cpu)
    return {
        "n": len(walls),
        "median_ms": statistics.median(walls) / 1e6,
        "p99_ms": float(np.quantile(walls, 0.99)) / 1e6,
        "cpu_median_ms": statistics.median(cpus) / 1e6,
    }


def fresh(path: Path, times: int) -> list[dict[str, float]]:
    """Load in processes of their own; seconds of imports, and of loading proper."""
    found = []
    for _ in range(times):
        command = [sys.executable, "-c", LOAD, str(path)]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        imports_s, load_s = json.loads(out)
        found.append({"imports_s": imports_s, "load_s": load_s})
    return found


def ours(path: Path, quick: bool) -> dict[str, Any]:
    """Time our own queries."""
    singles, repeats = (500, 5) if quick else (3000, 15)
    bench = wattproof.load(path)
    frame = bench.sample(7, n=MANY + singles)
    batch, rest = frame.iloc[:MANY], frame.iloc[MANY:]
    configs = rest.to_dict("records")
    rng = np.random.default_rng(1)
    found: dict[str, Any] = {}

    def again() -> Any:
        """The same benchmark, with nothing remembered."""
        return wattproof.load(path)

    lengths = [bench.epochs(config) for config in configs]
    epochs = [int(rng.integers(1, length + 1)) for length in lengths]
    one = again()
    one.query(batch.iloc[0].to_dict())  # the first one pays for lazy tables
    found["query"] = each(lambda c: one.query(c).energy_j.high, configs)  # values fill when read
    one = again()
    pairs = list(zip(configs, epochs, range(singles), strict=True))
    found["query, any epoch"] = each(lambda p: one.query(p[0], epoch=p[1]).energy_j, pairs)
    one = again()
    found["query, any epoch, seeded"] = each(lambda p: one.query(p[0], p[1], seed=p[2]), pairs)
    one = again()
    found["curve"] = each(one.curve, configs[: singles // 5])
    found["query_many"] = each(lambda b: b.query_many(batch), (again() for _ in range(repeats)))
    later = batch.assign(epoch=1)
    found["query_many, an epoch each, seeded"] = each(
        lambda b: b.query_many(later, seed=3), (again() for _ in range(repeats))
    )
    table = wattproof.load(path, kind="table")
    measured = table.measured()
    known = measured[list(bench.space)].to_dict("records")[: singles // 2]
    found["query, kind table"] = each(table.query, known)
    points = rng.random((100_000, 3))
    found["front of 100,000 points, 3 objectives"] = each(non_dominated, [points] * 3)
    return {"timings": found, "targets": len(one.query_many(batch.iloc[:1]).columns)}


def theirs(path: Path, quick: bool) -> dict[str, Any]:
    """Time the two other ways."""
    singles = 200 if quick else 2000
    bench = wattproof.load(path)
    configs = bench.sample(7, n=MANY).to_dict("records")
    ends = [config["epochs"] for config in configs]
    size = sum(len(c) for name, c in bench._files.items() if name.endswith(".onnx")) // 4
    targets = [name for name in bench.query_many(bench.sample(0, n=1)) if name in bench.targets]
    yahpo = Yahpo(bench.space, targets, size)
    warnings.simplefilter("ignore")  # scikit-learn: networks that are not fitted to the end
    ea_has = EaHas(bench.dataset, bench.curves)
    pairs = list(zip(configs, ends, strict=True))
    few = singles // 20
    found = {
        "YAHPO-style, validated": each(lambda p: yahpo.query(*p), pairs[:singles]),
        "YAHPO-style, not validated": each(
            lambda p: yahpo.query(*p, validate=False), pairs[:singles]
        ),
        "YAHPO-style, 10,000 validated": each(
            lambda _: yahpo.query_many(configs, ends), range(2 if quick else 5)
        ),
        "YAHPO-style, 10,000 not validated": each(
            lambda _: yahpo.query_many(configs, ends, validate=False), range(2 if quick else 5)
        ),
        "EA-HAS-style": each(lambda p: ea_has.query(*p), pairs[: few * 2]),
    }
    return {"timings": found, "graph_parameters": size, "yahpo_parameters": yahpo.parameters}


def main() -> None:
    """Measure, and write the page and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmark", type=Path, default=Path("results/virtual_2000/benchmark"))
    parser.add_argument("--quick", action="store_true", help="fewer repeats; writes nothing")
    asked = parser.parse_args()
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    load = os.getloadavg()[0]
    bench = wattproof.load(asked.benchmark)
    document = {
        "machine": f"one core of {os.cpu_count()}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}",
        "benchmark": repr(bench),
        "runs": len(bench.dataset),
        "families": bench._predictor.families,
        "load_before": load,
        "loads": fresh(asked.benchmark, 3 if asked.quick else 10),
        "ours": ours(asked.benchmark, asked.quick),
        "theirs": theirs(asked.benchmark, asked.quick),
        "load_after": os.getloadavg()[0],
    }
    text = page(document)
    print(text)
    if not asked.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "query.json").write_text(json.dumps(document, indent=1) + "\n")
        (RESULTS / "query.md").write_text(text)


if __name__ == "__main__":
    main()
