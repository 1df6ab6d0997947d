"""A simulated LMG450 on a pseudo-terminal, faults of all kinds, the real recorder: nothing lost.

``python tests/soak/lmg_soak.py --seconds 1800 --cycle 0.1 --out result.json`` exits with 0 if every
good cycle was recorded exactly once, every fault left a row of its own or a counted gap, nothing
was left behind and the memory of the source's process did not grow. In real time; costs little CPU.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sources"))

from lmg_device import SCTC_HZ, Device, Fault
from lmg_simulator import LmgSimulator

from wattproof.recorder import Recorder, seal_session

FAULTS: tuple[tuple[str, float, float], ...] = (
    # kind, size (cycles or seconds), seconds until all is well again at the latest
    ("garbage line", 0, 0.4),
    ("garbage in line", 0, 0.4),
    ("truncated", 0, 0.4),
    ("bit flip", 0, 0.4),
    ("duplicate", 0, 0.4),
    ("overrange", 0, 0.4),
    ("nan", 0, 0.4),
    ("flood", 0, 0.6),
    ("trickle", 0, 0.4),
    ("late", 14, 1.2),
    ("pause", 6, 1.0),
    ("count glitch", 7, 0.6),
    ("counters jump", 9, 0.6),
    ("unplug", 0.5, 4.5),
    ("restart", 0.5, 6.5),
)
LONG: tuple[tuple[str, float, float], ...] = (
    ("deaf", 6.0, 16.0),
    ("unplug", 20.0, 32.0),
    ("pause", 25, 3.0),
    ("stuck", 0, 6.5),
    ("flood", 0, 0.6),
)
"""With these there are 20."""
TRACE = {
    "garbage line": "garbled",
    "garbage in line": "garbled",
    "truncated": "garbled",
    "bit flip": "garbled",
    "duplicate": "garbled",
    "overrange": "overrange",
    "nan": "not_a_number",
    "flood": "garbled",
    "late": "timeout",
    "pause": "missing",
    "count glitch": "garbled",
    "counters jump": "device_lost",
    "unplug": "device_lost",
    "restart": "device_lost",
    "deaf": "timeout",
    "stuck": "timeout",
}
"""Status of a row that each fault must leave; a line that comes in slowly costs nothing."""
GROWTH_BYTES = 3 * 2**20


def run(seconds: float, cycle_s: float, folder: Path, long_ones: bool) -> dict[str, Any]:
    device = Device()
    faults = [*FAULTS, *(LONG if long_ones else ())]
    settings = {
        "driver": "lmg450",
        "port": str(folder / "tty"),
        "cycle_s": cycle_s,
        "range_v": 250,
        "range_a": 5,
    }
    others = {child.pid for child in psutil.Process().children(recursive=True)}
    node = {"kind": "real", "dir": None}
    with LmgSimulator(device, folder / "tty") as meter:
        recorder = Recorder(folder / "session", {"meter": settings}, node)
        recorder.start()
        (source,) = [
            child
            for child in psutil.Process().children(recursive=True)
            if child.pid not in others and "wattproof.recorder" in " ".join(child.cmdline())
        ]
        begin = time.monotonic()
        spare_s = seconds - sum(settle_s for _, _, settle_s in faults)
        assert spare_s > 0, f"{seconds} s are too short for these faults"
        warm_bytes = 0
        planned = 0
        due = begin + spare_s / (len(faults) + 1)
        while time.monotonic() < begin + seconds:
            if planned < len(faults) and time.monotonic() >= due:
                kind, size, settle_s = faults[planned]
                planned += 1
                due += settle_s + spare_s / (len(faults) + 1)
                if kind == "unplug":
                    meter.unplug(size)
                else:
                    device.plan(kind, size)
            if not warm_bytes and time.monotonic() > begin + min(60.0, seconds / 4):
                warm_bytes = source.memory_info().rss
            recorder.check()
            time.sleep(0.1)
        end_bytes = source.memory_info().rss
        cpu_s = sum(source.cpu_times()[:2])
        until = device.cycles[-10].index
        (health,) = recorder.stop()
        left = [p.pid for p in psutil.Process().children(recursive=True) if p.pid not in others]
        if source.is_running():
            left.append(source.pid)
    table = seal_session(folder / "session", "soak", 0)["samples"]
    return {
        **judge(device, table.to_pylist(), until),
        "seconds": seconds,
        "cycle_s": cycle_s,
        "health": health.outcome,
        "restarts": health.restarts,
        "left_behind": left,
        "unexpected": device.unexpected,
        "rss_warm_bytes": warm_bytes,
        "rss_end_bytes": end_bytes,
        "cpu_share": cpu_s / seconds,
    }


def judge(device: Device, rows: list[dict[str, Any]], until: int) -> dict[str, Any]:
    """Compare what was recorded with the device's own record, cycle by cycle.

    Args:
        device: The device.
        rows: Samples, in the order in which they were written.
        until: Cycles after this one may still have been under way at the end.
    """
    truth = {round(c.watts, 3): c for c in device.cycles}
    recorded = Counter(round(r["value"], 3) for r in rows if r["value"] is not None)
    good = [c for c in device.cycles if c.fate == "good"]
    first = good[0].index
    lost = sum(c.fate == "lost" and first < c.index <= until for c in device.cycles)
    jump = min(f.cycle for f in device.faults if f.kind in ("counters jump", "restart"))
    values = [(r, truth[round(r["value"], 3)]) for r in rows if r["value"] is not None]
    statuses = Counter(r["status"] for r in rows)
    return {
        "cycles": len(device.cycles),
        "good": len(good),
        "recorded": sum(recorded.values()),
        "good_not_recorded": [
            c.index for c in good if c.index <= until and round(c.watts, 3) not in recorded
        ],
        "recorded_twice": [value for value, times in recorded.items() if times > 1],
        "recorded_but_not_good": [c.index for _, c in values if c.fate != "good"],
        "out_of_order": sum(
            new.index <= old.index for (_, old), (_, new) in itertools.pairwise(values)
        ),
        "wrong_stamps": sum(
            r["device_ns"] != c.stamp * 10**9 // SCTC_HZ for r, c in values if c.index < jump
        ),
        "stamps_not_increasing": sum(
            new["device_ns"] <= old["device_ns"]
            for (old, _), (new, _) in itertools.pairwise(values)
        ),
        "lost": lost,
        "missing_rows": statuses["missing"],
        "statuses": dict(statuses),
        "faults": _by_fault(device.faults, rows),
    }


def _by_fault(faults: list[Fault], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ends = [fault.at_s for fault in faults[1:]] + [float("inf")]
    result = []
    for fault, end_s in zip(faults, ends, strict=True):
        span = (fault.at_s * 1e9 - 5e6, end_s * 1e9 - 5e6)
        found = Counter(
            r["status"] for r in rows if span[0] <= r["end_ns"] < span[1] and r["status"] != "ok"
        )
        result.append(
            {"kind": fault.kind, "cycle": fault.cycle, "size": fault.size, "rows": dict(found)}
        )
    return result


def complaints(found: dict[str, Any], faults: int) -> list[str]:
    """What is not as it must be; empty if all is well."""
    wrong = [
        f"{key}: {found[key]}"
        for key in (
            "good_not_recorded",
            "recorded_twice",
            "recorded_but_not_good",
            "out_of_order",
            "wrong_stamps",
            "stamps_not_increasing",
            "left_behind",
            "unexpected",
            "restarts",
        )
        if found[key]
    ]
    if found["health"] != "ok":
        wrong.append(f"health: {found['health']}")
    if found["missing_rows"] != found["lost"]:
        wrong.append(f"{found['lost']} cycles were lost, {found['missing_rows']} were counted")
    if len(found["faults"]) != faults:
        wrong.append(f"{len(found['faults'])} faults in place of {faults} took place")
    for fault in found["faults"]:
        status = TRACE.get(fault["kind"])
        if status is not None and status not in fault["rows"]:
            wrong.append(f"fault '{fault['kind']}' left no row '{status}'")
    growth = found["rss_end_bytes"] - found["rss_warm_bytes"]
    if growth > GROWTH_BYTES:
        wrong.append(f"the source's process grew by {growth} bytes")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--cycle", type=float, default=0.1)
    parser.add_argument("--short", action="store_true", help="without the long faults")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lmg_soak.") as folder:
        found = run(arguments.seconds, arguments.cycle, Path(folder), not arguments.short)
    wrong = complaints(found, len(FAULTS) + (0 if arguments.short else len(LONG)))
    text = json.dumps({"passed": not wrong, "wrong": wrong, **found}, indent=1)
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
