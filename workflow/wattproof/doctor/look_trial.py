"""A short recording with everything that is here: what rates are really reached, at what cost."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from typing import Any

from wattproof.doctor.findings import Finding, limited, missing, ok, percent
from wattproof.errors import WattproofError
from wattproof.recorder import Recorder, seal_session

CHECK_S = 0.2
GOOD_SHARE = 0.99
"""At least so many of the expected readings should come."""
MUCH_OF_A_CORE = 0.1


def look(request: Mapping[str, Any]) -> list[Finding]:
    """Record for some seconds and look at the health of every source."""
    sources = request["trial"]
    seconds = float(request["seconds"])
    with tempfile.TemporaryDirectory(prefix="wattproof-doctor-") as folder:
        recorder = Recorder(folder, sources, {"kind": "real", "dir": None}, "continue")
        try:
            with recorder:
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    time.sleep(CHECK_S)
                    recorder.check()
            health = seal_session(folder, "doctor", 0)["health"].to_pylist()
        except WattproofError as error:
            return [missing("trial", "recorder", f"The trial recording failed: {error}")]
    return [_finding(row, seconds) for row in health]


def _finding(row: Mapping[str, Any], seconds: float) -> Finding:
    name, outcome = str(row["source"]), str(row["outcome"])
    keys = ("expected", "taken", "failed", "late", "missed", "longest_gap_s", "restarts", "outcome")
    facts: dict[str, Any] = {key: row[key] for key in keys}
    duration_s = row["duration_s"] or 0.0
    facts["rate_hz"] = row["taken"] / duration_s if row["taken"] and duration_s else None
    facts["cpu_share"] = _cpu_share(row, seconds)
    if outcome.startswith("not offered"):
        return ok("trial", name, f"{name}: {outcome}", facts=facts)
    if not row["taken"]:
        return missing("trial", name, f"{name}: no reading came ({outcome}).", facts=facts)
    text = f"{name}: {row['taken']}"
    if row["expected"]:
        text += f" of {row['expected']}"
    text += f" readings in {duration_s:.1f} s"
    share = facts["cpu_share"]
    if share is not None:
        text += f", {percent(share)} of a core"
    worse = []
    if row["failed"]:
        worse.append(f"{row['failed']} failed")
    if row["expected"] and row["taken"] < GOOD_SHARE * row["expected"]:
        worse.append(f"{row['expected'] - row['taken']} are missing")
    if share is not None and share > MUCH_OF_A_CORE:
        worse.append("costly")
    if outcome != "ok":
        worse.append(outcome)
    if worse:
        remedy = "Choose a longer period, or leave a CPU to the instruments."
        return limited("trial", name, f"{text}; {', '.join(worse)}.", remedy, facts=facts)
    return ok("trial", name, f"{text}.", facts=facts)


def _cpu_share(row: Mapping[str, Any], seconds: float) -> float | None:
    if row["cpu_s"] is None or row["cpu_start_s"] is None:
        return None
    return float(max(0.0, row["cpu_s"] - row["cpu_start_s"]) / max(seconds, 1e-9))
