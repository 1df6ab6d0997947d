"""One measured piece of work in a process of its own; prints what it took as one line of JSON.

    python benchmarks/analysis/work.py ours|inspect|pandas FOLDER

``ours`` runs the scripts of the rules ``integrate`` and ``assess`` as Snakemake does, outputs and
all, ``inspect`` that of the rule ``inspect``. ``pandas`` is what one writes without wattproof:
read the columns, trapezoids by groupby.
"""

from __future__ import annotations

import json
import resource
import runpy
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

HERE = Path(__file__).parent
SCRIPTS = HERE.parents[1] / "workflow" / "scripts"
INTEGRATE = {"min_samples": 5, "min_coverage": 0.8, "max_gap_s": 2.0, "sensors": None}
ASSESS = {"min_samples": 5, "alpha": 0.05, "off_socket": "load"}


class _Files(SimpleNamespace):
    """Input or output of a rule: by name, by key and by place."""

    def __getitem__(self, key: str | int) -> Any:
        return list(vars(self).values())[key] if isinstance(key, int) else getattr(self, key)


def _run(
    rule: str, script: str, inputs: dict[str, Any], outputs: dict[str, Path], **more: Any
) -> float:
    """Run the script of a rule; returns seconds."""
    folder = next(iter(outputs.values())).parent
    snakemake = SimpleNamespace(
        rule=rule,
        input=_Files(**inputs),
        output=_Files(**outputs),
        params=SimpleNamespace(**more),
        log=[str(folder / f"{rule}.log")],
        threads=2,
    )
    began = time.perf_counter()
    runpy.run_path(str(SCRIPTS / script), init_globals={"snakemake": snakemake})
    return time.perf_counter() - began


def _paths(folder: Path, *names: str) -> dict[str, Path]:
    return {name: folder / f"{name}.parquet" for name in names}


def ours(folder: Path) -> dict[str, float]:
    """Integrate and assess; returns seconds by stage."""
    inputs: dict[str, Any] = _paths(folder, "samples", "channels", "marks", "runs", "clocks")
    made = _paths(folder, "windows", "energy", "shares", "utilisation")
    inputs |= {"windows": [], "sensors": []}
    integrate_s = _run("integrate", "integrate.py", inputs, made, settings=INTEGRATE)
    files = _paths(folder, "energy", "channels", "utilisation")
    inputs = {name: [path] for name, path in files.items()}
    made = _paths(folder, "agreement", "usage")
    assess_s = _run("assess", "assess.py", inputs, made, sites={}, settings=ASSESS)
    return {"integrate_s": integrate_s, "assess_s": assess_s}


def inspect(folder: Path) -> dict[str, float]:
    """Look for what is wrong with the recording; needs the outputs of `ours`."""
    inputs: dict[str, Any] = _paths(folder, "samples", "channels", "marks", "clocks", "windows")
    made = _paths(folder, "findings")
    return {"inspect_s": _run("inspect", "inspect_recording.py", inputs | {"health": []}, made)}


def plain_pandas(folder: Path) -> dict[str, float]:
    """Trapezoids by groupby: no clocks, no edges, no gaps, no counters' steps, no uncertainty."""
    import numpy as np
    import pandas as pd

    began = time.perf_counter()
    windows = pd.read_parquet(folder / "windows.parquet")
    listed = pd.read_parquet(folder / "channels.parquet").set_index(["source", "channel"])
    columns = ["source", "channel", "start_ns", "end_ns", "value", "status"]
    samples = pd.read_parquet(folder / "samples.parquet", columns=columns)
    read_s = time.perf_counter() - began
    samples = samples[samples["status"] == "ok"]
    start, end = windows["start_ns"].to_numpy(), windows["end_ns"].to_numpy()
    parts = []
    for key, rows in samples.groupby(["source", "channel"], sort=False):
        kind = listed.loc[key, "kind"]
        if kind not in ("power", "energy", "utilisation"):
            continue
        rows = rows.sort_values("end_ns")
        t, value = rows["end_ns"].to_numpy(), rows["value"].to_numpy()
        found = np.full(len(windows), np.nan)
        for i, (first, last) in enumerate(
            zip(np.searchsorted(t, start), np.searchsorted(t, end), strict=True)
        ):
            if last - first < 2:
                continue
            if kind == "energy":
                found[i] = value[last - 1] - value[first]
            elif kind == "power":
                found[i] = np.trapezoid(value[first:last], t[first:last] / 1e9)
            else:
                found[i] = value[first:last].mean()
        part = windows[["window_id", "level"]].assign(source=key[0], channel=key[1])
        parts.append(part.assign(result=found))
    table = pd.concat(parts)
    epochs = table[table["level"] == "epoch"].pivot(
        index="window_id", columns=["source", "channel"], values="result"
    )
    epochs.corr()
    table.to_parquet(folder / "pandas.parquet")
    return {"read_s": read_s, "rest_s": time.perf_counter() - began - read_s}


WORK = {"ours": ours, "inspect": inspect, "pandas": plain_pandas}


def main() -> None:
    """Do one piece of work and say what it took."""
    began = time.perf_counter()
    stages = WORK[sys.argv[1]](Path(sys.argv[2]))
    own, others = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(
        json.dumps(
            stages
            | {
                "wall_s": time.perf_counter() - began,
                "cpu_s": own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime,
                "peak_bytes": 1024 * own.ru_maxrss,
                "child_peak_bytes": 1024 * others.ru_maxrss,
            }
        )
    )


if __name__ == "__main__":
    main()
