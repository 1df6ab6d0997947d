"""Wattproof's recorder beside its peers, on a stub driver with a known power.

    python benchmarks/recorder/run.py [--quick] [--out results/NAME.md] [--only PART …]

Needs gcc, and PyPI once (the peers go into build/peers-venv). Twelve minutes, with --quick three.
The machine should be quiet. Writes a page (Markdown) and, beside it, all numbers (JSON) and all
windows (CSV).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / "benches"), str(HERE)]

import figures  # noqa: E402
import page  # noqa: E402
import pandas as pd  # noqa: E402
import sampling  # noqa: E402
import scenario  # noqa: E402
import stage  # noqa: E402
from ours import sealed  # noqa: E402
from powercap_tree import PowercapTree  # noqa: E402
from rapl_tree import TREE  # noqa: E402
from stub_nvml import StubDriver, StubGpu  # noqa: E402

from wattproof import sensing  # noqa: E402

PARTS = ("accuracy", "part-time", "sampling")
BURNERS = 2
UUID = "GPU-b3ac0000-0000-4000-8000-000000000001"

FULL_TIME = StubGpu(uuid=UUID, phase_s=0.0373, ring_phase_s=0.0061)
PART_TIME = replace(FULL_TIME, window_s=0.025)
OTHERS = {
    "ring of power at the instant, not of means": {"ring_mode": "point"},
    "everything can be read 40 ms late": {"delay_s": 0.04},
    "no ring": {"ring_size": 0},
}
"""Full-time drivers unlike the one of part "accuracy"; GPUs 1, 2, 3 beside the part-time one."""

SIZES = {  # seconds of each load, windows of each length in it; seconds of the section "sampling"
    False: {"accuracy": (34.0, 12), "part-time": (22.0, 12), "sampling": 60.0},
    True: {"accuracy": (5.6, 3), "part-time": (5.6, 3), "sampling": 6.0},
}


def accuracy(folder: Path, size: tuple[float, int], settings: dict[str, Any]) -> dict[str, Any]:
    """All tools on a driver whose counter and ring follow the true power; idle and busy."""
    parts, cost, health, stated = [], {}, {}, {}
    for number, (condition, burners) in enumerate({"idle": 0, "busy": BURNERS}.items()):
        print(f"accuracy, {condition} …", flush=True)
        driver = StubDriver.build(folder / f"driver-{condition}", [FULL_TIME])
        playing = scenario.make(*size, seed=11 + number)
        where = folder / condition
        names = list(figures.LABELS)[1:]
        script, end_ns, results = stage.play(driver, playing, where, names, burners)
        table, found = figures.our_energies(where, playing, script, end_ns, settings)
        part = figures.rows(playing, script, results, table)
        parts.append(part.assign(condition=condition))
        captured = figures.captured_by_lane(found["health"])
        cost[condition] = figures.costs(results, captured)
        stated[condition] = figures.intervals(part)
        health[condition] = found["health"].to_dict("records")
    windows = pd.concat(parts, ignore_index=True)
    return {"windows": windows, "costs": cost, "health": health, "intervals": stated}


def part_time(folder: Path, size: tuple[float, int]) -> dict[str, Any]:
    """A sensor that is blind for three quarters of the time: does our interval say so?"""
    print("part-time sensor …", flush=True)
    others = [
        replace(FULL_TIME, uuid=f"{UUID[:-1]}{index + 2}", **unlike)
        for index, unlike in enumerate(OTHERS.values())
    ]
    driver = StubDriver.build(folder / "driver-part-time", [PART_TIME, *others])
    playing = scenario.make(*size, seed=31)
    where = folder / "part-time"
    names = [name for name in figures.LABELS if name not in ("wattproof", "smi_processes")]
    script, end_ns, results = stage.play(driver, playing, where, names, 0)
    described = where / "sensors.json"
    channels = ("power_instant", "energy", "power_samples")
    known = {"update_s": 0.1, "window_s": 0.025, "delay_s": 0.0, "averaging": "boxcar"}
    about = {"simulated": True, "host": "the stub driver, described by hand"}
    sensing.save(
        described, [sensing.SensorDescription(UUID, name, **known) for name in channels], about
    )
    found: dict[str, Any] = {"intervals": {}, "others": {}}
    for index, name in enumerate(OTHERS):
        found["others"][f"wattproof gpu{index + 1}.energy"] = name
    for case, (settings, gain_known) in {
        "without a sensor description": ({}, False),
        "with the sensor's description": ({"sensors": str(described)}, False),
        "with it, and the board's gain known": ({"sensors": str(described)}, True),
    }.items():
        table, _ = figures.our_energies(where, playing, script, end_ns, settings, gain_known)
        frame = figures.rows(playing, script, results, table)
        found["intervals"][case] = {
            length: figures.intervals(frame[frame["length"] == length])
            for length in scenario.CLASSES
        }
        found["intervals"][case]["all"] = figures.intervals(frame)
        found["windows"] = frame.assign(condition="part-time")
    return found


def on_time(folder: Path, duration_s: float) -> list[dict[str, Any]]:
    """Every source at 100 Hz beside busy cores."""
    print("sampling …", flush=True)
    driver = StubDriver.build(folder / "driver-sampling", [FULL_TIME])
    tree = PowercapTree(folder / "powercap", packages=2, parts=("core", "dram"), mmio=True)
    env = stage.our_env(driver, **{TREE: str(tree.root)})
    session = folder / "sampling"
    command = [sys.executable, str(HERE / "sampling_worker.py"), str(session), str(duration_s)]
    worker = stage.Worker("sampling_worker", command, env, folder)
    try:
        worker.wait_ready()
        with stage.busy(BURNERS):
            start_ns = time.monotonic_ns() + 1_000_000_000
            worker.begin(start_ns)
            worker.result(duration_s + stage.READY_S)
    finally:
        worker.close()
    end_ns = start_ns + round(duration_s * 1e9)
    return sampling.assess(sealed(session), start_ns, end_ns, driver.wall_offset_ns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three minutes; shows that it works")
    parser.add_argument("--out", type=Path, help="page to write (.md)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    chosen = parser.parse_args()
    name = "recorder-quick" if chosen.quick else "recorder"
    out = (chosen.out or HERE / "results" / f"{name}.md").with_suffix(".md")
    out.parent.mkdir(parents=True, exist_ok=True)
    size = SIZES[chosen.quick]
    started = time.time()
    content: dict[str, Any] = {"about": page.about(chosen.quick)}
    windows = []
    with tempfile.TemporaryDirectory(prefix="wattproof-benchmark-") as temporary:
        folder = Path(temporary)
        if "accuracy" in chosen.only:
            content["accuracy"] = accuracy(folder, size["accuracy"], {})
            windows.append(content["accuracy"].pop("windows"))
        if "part-time" in chosen.only:
            content["part_time"] = part_time(folder, size["part-time"])
            windows.append(content["part_time"].pop("windows"))
        if "sampling" in chosen.only:
            content["sampling"] = on_time(folder, size["sampling"])
    content["about"]["took_s"] = time.time() - started
    all_windows = pd.concat(windows, ignore_index=True) if windows else pd.DataFrame()
    text = page.write(content, all_windows)
    out.write_text(text, encoding="utf-8")
    figures.dump(out.with_suffix(".json"), content)
    if len(all_windows):
        all_windows.round(6).to_csv(out.with_suffix(".csv"), index=False)
    print(text)
    print(f"Written: {out} (and .json, .csv)")


if __name__ == "__main__":
    main()
