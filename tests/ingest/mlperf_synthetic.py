"""Writes small MLPerf Training sets whose energies are known by hand."""

import json
from pathlib import Path

T0_MS = 1_715_341_078_316
HEADER = (
    "system,benchmark,run,run_start_ms,run_stop_ms,time_to_train_s,scaling_factor,status,"
    "eval_accuracy_last,epochs_or_samples_last,switch_est_w"
)
PUBLISHED_HEADER = "Public ID,System Name,Model MLC,Units,Avg. Result at System Name"


def line(time_ms, key, value, compact=False):
    body = {"namespace": "", "time_ms": time_ms, "key": key, "value": value, "metadata": ""}
    return ":::MLLOG " + json.dumps(body, separators=(",", ":") if compact else (", ", ": "))


def power_log(readings, start_ms=T0_MS, extra=()):
    """Text of a log; readings are (ms after T0_MS, watts); start_ms None leaves the mark out."""
    lines = [] if start_ms is None else [line(start_ms, "power_measurement_start", "null", True)]
    lines += [line(T0_MS + after, "power_reading", value) for after, value in readings]
    return "\n".join([*lines, *extra]) + "\n"


def steady(watts, idle=100, seconds=10):
    """Idle after 2 s, then `watts` each 2 s: mean (2·idle + (seconds − 2)·watts)/seconds."""
    return [(2000, idle)] + [(1000 * t, watts) for t in range(4, seconds + 1, 2)]


def write_set(
    root: Path, runs, benchmark="resnet", factor=None, published="1.00", channels=("ac",)
):
    """Write a set of one benchmark.

    Args:
        root: New folder.
        runs: (name, time to train in s, AC watts, status); each run lasts from T0 + 2 s on.
        benchmark: Its name.
        factor: Scaling factor; None writes no scaling.json.
        published: AC energy in kJ as MLCommons writes it; None leaves it out.
        channels: Registers; DC is 0.9 of AC.
    """
    rows = [HEADER]
    for name, seconds, watts, status in runs:
        begin = T0_MS + 2000
        stop = begin + round(1000 * seconds)
        rows.append(
            f"1xNode,{benchmark},{name},{begin},{stop},{seconds},{factor or 1.0},{status},0.75,35,"
        )
        for channel in channels:
            folder = root / benchmark / channel / name
            folder.mkdir(parents=True)
            share = 1.0 if channel == "ac" else 0.9
            readings = [(ms, share * w) for ms, w in steady(watts)]
            (folder / "node_0.txt").write_text(power_log(readings))
    (root / "runs.csv").write_text("\n".join(rows) + "\n")
    if factor is not None:
        (root / benchmark / "scaling.json").write_text(json.dumps({"scaling_factor": factor}))
    figures = [PUBLISHED_HEADER, f'1,X-AC-Power,{benchmark},Latency (In minutes),"5.4"']
    if published is not None:
        figures.append(f'1,X-AC-Power,{benchmark},kJ,"{published}"')
    (root / "published.csv").write_text("\n".join(figures) + "\n")
    return root
