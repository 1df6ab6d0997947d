"""What the workflow itself costs: a plan of many runs, dry and executed on the offline node.

Usage: python benchmarks/workflow/run.py [--sizes 1000 10000] [--cores 2]

The trainings are short (two epochs, offline), so nearly all that is measured is the workflow and
its analysis. Folders stay under build/workflow; a size that is there is made anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results"
sys.path.insert(0, str(ROOT / "benchmarks"))

from stages import stages  # noqa: E402  (a script beside us, no package)

DRY_LIMIT_S = 60.0
OVERHEAD_LIMIT_S = 0.2
MEMORY_LIMIT_GIB = 2.0
RUNS_PER_RECORDING = 40

CAMPAIGN = """
campaign: many
node: {{kind: virtual, preset: paper, mode: offline, seed: 5}}
space: ea_has_tinyimagenet
plan: {{runs: {runs}, seed: 1, runs_per_recording: {size}, recipe: {{epochs: 50}}}}
training: {{dataset: tiny_imagenet, train_images: 1000, shorten: 25}}
calibration: {{idle_s: 6, load_s: 6, repeats: 3}}
sources:
  nvml: {{period_s: 0.5, counter_period_s: 0.5, ring: false}}
  rapl: {{period_s: 0.5}}
  meter: {{driver: lmg450, cycle_s: 0.5, range_v: 250, range_a: 20}}
analysis: {{min_samples: 3, min_confidence: 0.3}}
"""


def call(folder: Path, *arguments: str) -> tuple[float, float]:
    """Run Snakemake; returns wall seconds, and CPU seconds of it and all its jobs."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--configfile", "many.yaml", "--quiet", "all", *arguments]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with (folder / "log").open("a") as log:
        subprocess.run(command, cwd=folder, check=True, stdout=log, stderr=log)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - start, cpu_s


def measure(runs: int, cores: int) -> dict[str, Any]:
    """Plan and execute a campaign of so many runs."""
    folder = ROOT / "build" / "workflow" / str(runs)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    text = CAMPAIGN.format(runs=runs, size=RUNS_PER_RECORDING)
    (folder / "many.yaml").write_text(text, encoding="utf-8")
    dry_s, _ = call(folder, "--dry-run")
    again_s, _ = call(folder, "--dry-run")
    load = os.getloadavg()[0]
    wall_s, cpu_s = call(folder, "--cores", str(cores))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    nothing_s, _ = call(folder, "--cores", str(cores))
    table = stages(folder / "results" / "many")
    useful_s = float(table["wall_s"].sum())
    return {
        "runs": runs,
        "jobs": int(table["jobs"].sum()),
        "dry_run_s": dry_s,
        "dry_run_again_s": again_s,
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "useful_job_s": useful_s,
        "slots": cores,
        "overhead_s_per_run": (wall_s - useful_s / cores) / runs,
        "wall_s_per_run": wall_s / runs,
        "nothing_to_do_s": nothing_s,
        "peak_process_gib": peak,
        "load_before": load,
        "load_after": os.getloadavg()[0],
        "stages": json.loads(table.round(2).reset_index().to_json(orient="records")),
    }


def page(results: list[dict[str, Any]], machine: str) -> str:
    """The results as Markdown."""
    last = results[-1]
    lines = [
        "# What the workflow costs",
        "",
        f"`.venv/bin/python benchmarks/workflow/run.py` on {machine}; simulated trainings of two "
        f"epochs, {RUNS_PER_RECORDING} runs a recording. Overhead = (wall − seconds of all jobs / "
        "slots) / runs. Memory is that of the largest process. The load is the machine's (1 min) "
        "before and after: above the slots, others were at work.",
        "",
        "| runs | jobs | dry run, first and again | executed | CPU | overhead a run | all a run "
        "| nothing to do | memory | load |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['runs']:,} | {r['jobs']:,} | {r['dry_run_s']:.1f} s, {r['dry_run_again_s']:.1f} s "
        f"| {r['wall_s']:.0f} s | {r['cpu_s']:.0f} s | {r['overhead_s_per_run']:.3f} s "
        f"| {r['wall_s_per_run']:.3f} s | {r['nothing_to_do_s']:.1f} s "
        f"| {r['peak_process_gib']:.2f} GiB | {r['load_before']:.1f}, {r['load_after']:.1f} |"
        for r in results
    ]
    met = [
        last["dry_run_s"] <= DRY_LIMIT_S,
        last["overhead_s_per_run"] <= OVERHEAD_LIMIT_S,
        last["peak_process_gib"] <= MEMORY_LIMIT_GIB,
    ]
    bars = (
        f"dry run ≤ {DRY_LIMIT_S:.0f} s",
        f"overhead ≤ {OVERHEAD_LIMIT_S} s a run",
        f"memory ≤ {MEMORY_LIMIT_GIB:.0f} GiB",
    )
    words = [f"{bar}: {'met' if ok else 'NOT MET'}" for bar, ok in zip(bars, met, strict=True)]
    lines += ["", f"Bars at {last['runs']:,} runs: {'; '.join(words)}.", ""]
    lines += ["| stage | " + " | ".join(f"{r['runs']:,} runs" for r in results) + " |"]
    lines += ["|---|" + "---|" * len(results)]
    by_stage = [{s["stage"]: s for s in r["stages"]} for r in results]
    for name in by_stage[-1]:
        cells = [
            f"{s[name]['jobs']} jobs, {s[name]['cpu_s']:.0f} CPU s, {s[name]['max_rss_mb']:.0f} MB"
            if name in s
            else ""
            for s in by_stage
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure each size and write the page and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--cores", type=int, default=2)
    asked = parser.parse_args()
    found = [measure(runs, asked.cores) for runs in asked.sizes]
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
    RESULTS.mkdir(exist_ok=True)
    document = {"machine": machine, "pandas": pd.__version__, "results": found}
    (RESULTS / "workflow.json").write_text(json.dumps(document, indent=1) + "\n")
    (RESULTS / "workflow.md").write_text(page(found, machine))
    print(page(found, machine))


if __name__ == "__main__":
    main()
