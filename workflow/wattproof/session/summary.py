"""How a whole campaign stands, from the progress logs of its recordings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.plan import CALIBRATION
from wattproof.session.progress import FILE, STATUS_S, energy_text, read_log, time_text
from wattproof.units import NS_PER_S

COUNTS = ("done", "failed", "running", "left")
SUMS = ("node_w", "gpus_w", "node_j", "gpus_j")

SILENT_S = 6 * STATUS_S
"""A recording that has told nothing for so long is not at work any more, whatever it said last."""


def summarise(results: Path, now_ns: int | None = None) -> dict[str, Any]:
    """Sum up all recordings of a campaign; reads only, and works while the workflow runs.

    Args:
        results: Folder of the campaign.
        now_ns: Wall clock; None: now.

    Returns:
        Counts of runs (calibration loads are runs, clock patterns are not), power now, energy so
        far and time left, null where unknown; and the same for each recording under
        ``recordings``, with its ``state``: waiting, running, stopped, silent or complete.

    Raises:
        WattproofError: Nothing was ever begun there.
    """
    planned = _planned(results)
    names = {path.parent.name for path in results.glob(f"raw/*/{FILE}")}
    names |= {path.parent.name for path in results.glob("recordings/*/runs.parquet")}
    if not planned and not names:
        raise WattproofError(
            f"{results} holds no campaign that was begun: give the folder of its results, e.g. "
            "results/demo."
        )
    now_ns = time.time_ns() if now_ns is None else now_ns
    found = [
        _recording(results, name, planned.get(name), now_ns)
        for name in [*planned, *sorted(names - set(planned))]
    ]
    running = [one for one in found if one["state"] == "running"]
    return {
        "campaign": results.name,
        "simulated": any(one["simulated"] for one in found),
        **{key: sum(one[key] for one in found) for key in COUNTS},
        **{key: _sum(found if key.endswith("_j") else running, key) for key in SUMS},
        "left_s": _left_s(found, running),
        "recordings": found,
    }


def _planned(results: Path) -> dict[str, int]:
    """Number of runs by recording, in the order of the plan."""
    path = results / "tables" / "plan.parquet"
    if not path.exists():
        return {}
    rows = tables.read(path, "plan", columns=["recording", "spec"]).to_pylist()
    found: dict[str, int] = {}
    for row in rows:
        found[row["recording"]] = found.get(row["recording"], 0) + (
            '"load": "sync"' not in row["spec"]
        )
    return found


def _recording(results: Path, name: str, planned: int | None, now_ns: int) -> dict[str, Any]:
    log = read_log(results / "raw" / name / FILE)
    if not log:
        return _without_log(results, name, planned)
    told = [event for event in log if "done" in event]
    last = told[-1]
    states = [event for event in log if "node_w" in event]
    state = states[-1] if states else dict.fromkeys((*SUMS, "left_s"))
    age_s = (now_ns - log[-1]["wall_ns"]) / NS_PER_S
    if log[-1]["event"] == "session_end":
        how = "complete" if log[-1]["how"] == "complete" else "stopped"
    else:
        how = "silent" if age_s > SILENT_S else "running"
    # A run that has begun since the last count was left then.
    counts = {key: int(last[key]) for key in COUNTS}
    if how != "running":
        counts["left"] += counts["running"]
        counts["running"] = 0
    if planned is not None:
        counts["left"] = max(0, planned - counts["done"] - counts["failed"] - counts["running"])
    alive = how == "running"
    since_s = (now_ns - states[-1]["wall_ns"]) / NS_PER_S if states else 0.0
    left_s = state["left_s"] if alive else None
    return {
        "recording": name,
        "state": how,
        "host": next((e["host"] for e in reversed(log) if "host" in e), None),
        "simulated": bool(log[-1]["simulated"]),
        **counts,
        "node_w": state["node_w"] if alive else None,
        "gpus_w": state["gpus_w"] if alive else None,
        "node_j": state["node_j"],
        "gpus_j": state["gpus_j"],
        "left_s": None if left_s is None else max(0.0, left_s - since_s),
        "worked_s": _worked_s(log),
        "age_s": age_s,
    }


def _worked_s(log: list[dict[str, Any]]) -> float:
    """Seconds in which the recording was at work, over all its sessions."""
    spans: dict[int, list[int]] = {}
    for event in log:
        spans.setdefault(event["session"], []).append(event["wall_ns"])
    return sum(max(stamps) - min(stamps) for stamps in spans.values()) / NS_PER_S


def _without_log(results: Path, name: str, planned: int | None) -> dict[str, Any]:
    """A recording that has not begun; or was made offline, or elsewhere: its table says enough."""
    path = results / "recordings" / name / "runs.parquet"
    done = failed = 0
    simulated = False
    if path.exists():
        status = tables.read(path, "runs").to_pylist()
        counted = [
            r for r in status if not (r["setting"] == CALIBRATION and "-sync-" in r["run_id"])
        ]
        failed = sum(row["status"] != "ok" for row in counted)
        done = len(counted) - failed
        simulated = tables.read_meta(path).simulated
    return {
        "recording": name,
        "state": "complete" if path.exists() else "waiting",
        "host": None,
        "simulated": simulated,
        "done": done,
        "failed": failed,
        "running": 0,
        "left": max(0, (planned or 0) - done - failed),
        **dict.fromkeys((*SUMS, "left_s", "age_s")),
        "worked_s": 0.0,
    }


def _sum(rows: list[dict[str, Any]], key: str) -> float | None:
    known = [row[key] for row in rows if row[key] is not None]
    return sum(known) if known else None


def _left_s(found: list[dict[str, Any]], running: list[dict[str, Any]]) -> float | None:
    """Time left, if as many recordings go on side by side as do now; None if that is unknown."""
    ended = sum(one["done"] + one["failed"] for one in found if one["worked_s"])
    worked_s = sum(one["worked_s"] for one in found)
    mine = [one["left_s"] for one in running]
    waiting = sum(one["left"] for one in found if one["state"] not in ("running", "complete"))
    if not running and not waiting:
        return 0.0
    if any(left_s is None for left_s in mine) or (waiting and not ended):
        return None
    more_s = waiting * worked_s / ended if waiting else 0.0
    return max(max(mine, default=0.0), (sum(mine) + more_s) / max(1, len(running)))


def text(summary: dict[str, Any]) -> str:
    """Say how a campaign stands, for people: a line in all, and one for each recording at work."""
    total = sum(summary[key] for key in COUNTS)
    lines = [
        f"{summary['campaign']}: {summary['done']} of {total} runs done, {summary['failed']} "
        f"failed, {summary['running']} running, {summary['left']} left"
    ]
    for name, whose in (("node", "nodes"), ("gpus", "GPUs")):
        watts, joules = summary[f"{name}_w"], summary[f"{name}_j"]
        now = [] if watts is None else [f"{watts:.0f} W now"]
        so_far = [] if joules is None else [f"{energy_text(joules)} so far"]
        if now or so_far:
            lines.append(f"{whose}: {', '.join(now + so_far)}")
    if summary["left_s"]:
        lines.append(f"about {time_text(summary['left_s'])} left")
    by_state: dict[str, int] = {}
    for one in summary["recordings"]:
        by_state[one["state"]] = by_state.get(one["state"], 0) + 1
    lines.append("recordings: " + ", ".join(f"{n} {state}" for state, n in by_state.items()))
    for one in summary["recordings"]:
        if one["state"] in ("running", "silent", "stopped"):
            watts = "" if one["node_w"] is None else f", {one['node_w']:.0f} W"
            quiet = (
                f", last heard of {time_text(one['age_s'])} ago" if one["state"] == "silent" else ""
            )
            counts = ", ".join(f"{one[key]} {key}" for key in COUNTS)
            lines.append(
                f"  {one['recording']} on {one['host']}: {one['state']}, {counts}{watts}{quiet}"
            )
    if summary["simulated"]:
        lines.append("Power and energy are SIMULATED.")
    return "\n".join(lines)
