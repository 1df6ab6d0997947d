"""What each stage of a campaign costs: sums Snakemake's own timings.

Usage: python benchmarks/stages.py results/demo
"""

import sys
from pathlib import Path

import pandas as pd


def stages(results: Path) -> pd.DataFrame:
    """Return wall seconds, CPU seconds and peak memory by stage, from timings/**/*.tsv."""
    rows = []
    for path in sorted((results / "timings").rglob("*.tsv")):
        part = path.relative_to(results / "timings").with_suffix("").parts
        timing = pd.read_csv(path, sep="\t").iloc[-1]
        rows.append(
            {
                "stage": part[0],
                "wall_s": timing["s"],
                "cpu_s": timing["cpu_time"],
                "max_rss_mb": timing["max_rss"],
            }
        )
    frame = pd.DataFrame(rows)
    how = {"jobs": ("wall_s", "size"), "wall_s": ("wall_s", "sum"), "cpu_s": ("cpu_s", "sum")}
    table = frame.groupby("stage", sort=False).agg(**how, max_rss_mb=("max_rss_mb", "max"))
    return table.sort_values("wall_s", ascending=False)


if __name__ == "__main__":
    print(stages(Path(sys.argv[1])).round(1).to_string())
