"""What integrating and assessing costs from a million to a hundred million samples.

    python benchmarks/analysis/run.py [--sizes 1e6 1e7 3e7 1e8] [--out results/analysis.md]

Each case is made once (`case.py`, simulated: true) and kept in build/analysis. Each piece of work
runs in a process of its own (`work.py`): the scripts of the rules integrate and assess, and beside
them a plain pandas version. Writes a page (Markdown) and, beside it, all numbers (JSON).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pyarrow.parquet as pq
from case import make

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PANDAS_BYTES, ROOM = 200, 1.5
"""Bytes that pandas needs for a sample (measured); it is not run without so many times that room: a
machine that runs out of memory ends other people's work too."""
BAR_S, BAR_BYTES, BAR_SAMPLES = 60.0, 2 * 2**30, 10**8


def _measure(what: str, folder: Path) -> dict[str, Any]:
    before = os.getloadavg()[0]
    done = subprocess.run(
        [sys.executable, str(HERE / "work.py"), what, str(folder)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1]) | {"load_before": before}


def _difference(folder: Path) -> dict[str, float]:
    """Median relative difference of the two results for epochs, by kind of channel."""
    energy = pd.read_parquet(folder / "energy.parquet")
    plain = pd.read_parquet(folder / "pandas.parquet")
    both = energy.merge(plain, on=["window_id", "source", "channel"], suffixes=("", "_plain"))
    both = both[(both["level"] == "epoch") & both["energy_j"].notna() & (both["result"] != 0)]
    off = (both["result"] / both["energy_j"] - 1).abs()
    found = off.groupby(both["source"] + " " + both["channel"].str.split(".").str[-1]).median()
    return {str(key): float(value) for key, value in found.items()}


def measure(size: int, folder: Path) -> dict[str, Any]:
    """Measure one size."""
    if not (folder / "runs.parquet").exists():
        make(folder, size)
    samples = pq.ParquetFile(folder / "samples.parquet").metadata.num_rows
    row: dict[str, Any] = {"samples": samples, "ours": _measure("ours", folder)}
    row["windows"] = pq.ParquetFile(folder / "windows.parquet").metadata.num_rows
    row["energies"] = pq.ParquetFile(folder / "energy.parquet").metadata.num_rows
    row["file_bytes"] = (folder / "samples.parquet").stat().st_size
    if ROOM * samples * PANDAS_BYTES < psutil.virtual_memory().available:
        row["pandas"] = _measure("pandas", folder)
        row["difference"] = _difference(folder)
    return row


def _cells(found: dict[str, Any] | None, samples: int) -> str:
    if found is None:
        return f"— | — | not run, would need {samples * PANDAS_BYTES / 2**30:.0f} | —"
    each = 1e6 * found["cpu_s"] / samples
    peak = found["peak_bytes"] + found["child_peak_bytes"]
    return f"{found['wall_s']:.1f} | {found['cpu_s']:.1f} | {peak / 2**30:.2f} | {each:.2f}"


def page(rows: list[dict[str, Any]], command: str) -> str:
    """Return the page."""
    first, last = rows[0], rows[-1]
    further = ", ".join(
        f"{1e6 * (b['ours']['cpu_s'] - a['ours']['cpu_s']) / (b['samples'] - a['samples']):.2f}"
        for a, b in pairwise(rows)
    )
    lines = [
        "# Integrate and assess, from a million samples on",
        "",
        f"`{command}` on {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, pandas {pd.__version__}. Simulated recordings of a "
        "node with four GPUs at 1,256 readings a second (`case.py`); 10^8 are 22 hours.",
        "",
        "| samples | windows | energies | wall s | CPU s | peak GiB | CPU µs a sample "
        "| pandas: wall s | CPU s | peak GiB | CPU µs a sample | load before |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        n = row["samples"]
        lines.append(
            f"| {n:,} | {row['windows']:,} | {row['energies']:,} | {_cells(row['ours'], n)} "
            f"| {_cells(row.get('pandas'), n)} | {row['ours']['load_before']:.1f} |"
        )
    peak = last["ours"]["peak_bytes"] + last["ours"]["child_peak_bytes"]
    lines += [
        "",
        f"Of {last['ours']['wall_s']:.1f} s of the largest case, integrate (with flags and "
        f"utilisation) took {last['ours']['integrate_s']:.1f} s and assess "
        f"{last['ours']['assess_s']:.1f} s. Bar at 10^8: ≤ {BAR_S:.0f} s and ≤ 2 GiB on 2 cores.",
        "",
        f"Each further sample costs, from row to row, {further} µs of CPU time: it grows linearly. "
        f"Starting Python and its libraries is most of the first row "
        f"({first['ours']['cpu_s']:.1f} s).",
        "",
        "The machine was shared while this ran: CPU seconds say what the work costs, wall seconds "
        "what one waits where other work takes its share (see the load).",
        "",
        "## What the plain version leaves out",
        "",
        "It knows no clocks (the meter's own clock is taken as the host's), no edges (it loses up "
        "to a sampling period at each), no gaps, no steps of counters (100 ms) nor their wraps, no "
        "uncertainty, no flags. Median difference of its epochs' energies from wattproof's, by "
        "channel, in the largest case that it ran:",
        "",
        "| channel | median difference |",
        "|---|---|",
    ]
    both = [row for row in rows if "difference" in row]
    for name, value in (both[-1]["difference"] if both else {}).items():
        lines.append(f"| {name} | {100 * value:.2f} % |")
    if last["samples"] >= 0.9 * BAR_SAMPLES:
        fine = last["ours"]["wall_s"] <= BAR_S and peak <= BAR_BYTES
        lines += ["", f"Bar {'met' if fine else 'NOT met'} in this run."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all sizes and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=float, default=[1e6, 1e7, 3e7, 1e8])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "analysis")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "analysis.md")
    chosen = parser.parse_args()
    sizes = sorted(int(size) for size in chosen.sizes)
    rows = [measure(size, chosen.folder / f"{size:.0e}") for size in sizes]
    text = page(
        rows, "python benchmarks/analysis/run.py --sizes " + " ".join(f"{s:.0e}" for s in sizes)
    )
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(text)
    chosen.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
