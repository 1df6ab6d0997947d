"""Errors of all tools against the known truth, and their summaries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ours import energies, sealed
from scenario import Scenario
from stub_nvml import PowerScript

LABELS = {
    "wattproof": "wattproof (counter and ring)",
    "zeus_windows": "Zeus 0.16.0 ZeusMonitor (counter at the edges)",
    "codecarbon": "Code Carbon 3.3.2 (tasks)",
    "zeus_power": "Zeus 0.16.0 PowerMonitor (instant, 50 ms)",
    "perun_style": "perun-style (average, 100 ms)",
    "jpwr_style": "jpwr-style (average, 100 ms)",
    "smi_processes": "one nvidia-smi process per sample",
}
BEST = "gpu0.energy"
QUANTILE_90 = 1.6448536269514722
"""Of the standard normal distribution: half width of a 90 % interval in standard uncertainties."""

BARS = {"5–20 s": (0.001, 0.005), "1–5 s": (0.005, 0.02)}
"""Median and 95th percentile of the relative error (issue 3, must show 2)."""
COVERAGE_BAR = 0.85


def rows(
    scenario: Scenario,
    script: PowerScript,
    results: dict[str, dict[str, Any]],
    ours: pd.DataFrame,
) -> pd.DataFrame:
    """Return one row per tool (our other channels are tools as well) and window."""
    windows = {window.id: window for window in scenario.windows}
    found = []
    for name, result in results.items():
        tool = name.partition("-")[0]
        found += [{"tool": tool, **window} for window in result.get("windows", ())]
    for row in ours.itertuples():
        channel = "" if row.channel == BEST else f" {row.channel}"
        found.append(
            {
                "tool": f"wattproof{channel}",
                "id": row.id,
                "energy_j": row.energy_j,
                "energy_u_j": row.energy_u_j,
                "flags": ",".join(row.flags),
                "start_ns": row.start_ns,
                "end_ns": row.end_ns,
            }
        )
    frame = pd.DataFrame(found)
    frame["load"] = [windows[i].load for i in frame["id"]]
    frame["length"] = [windows[i].length for i in frame["id"]]
    edges = zip(frame["start_ns"], frame["end_ns"], strict=True)
    frame["true_j"] = [script.energy_j(int(a), int(b)) for a, b in edges]
    frame["error"] = frame["energy_j"].astype(float) / frame["true_j"] - 1.0
    return frame


def our_energies(
    folder: Path,
    scenario: Scenario,
    script: PowerScript,
    end_ns: int,
    settings: dict[str, Any],
    gain_known: bool = False,
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Seal, align and integrate the session of a played scenario.

    Args:
        folder: Of the playing.
        scenario: What was played.
        script: As it was played.
        end_ns: End of the recording.
        settings: Of the analysis.
        gain_known: Leave the boards' limit of error (±5 %) out of the uncertainties, as after a
            calibration; what is left is what sampling itself makes uncertain.
    """
    found = sealed(folder / "session")
    if gain_known:
        found["channels"]["accuracy_reading"] = np.nan
    table = energies(found, scenario.windows, script.start_ns, end_ns, settings)
    return table, found


def summary(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return median, 95th percentile and largest |error|, and the bias, by group."""

    def one(part: pd.DataFrame) -> pd.Series:
        error = part["error"].dropna().to_numpy(float)
        size = np.abs(error)
        return pd.Series(
            {
                "n": len(error),
                "refused": len(part) - len(error),
                "median": np.median(size) if len(size) else np.nan,
                "p95": np.percentile(size, 95) if len(size) else np.nan,
                "largest": size.max() if len(size) else np.nan,
                "bias": np.median(error) if len(size) else np.nan,
            }
        )

    table = frame.groupby(by, sort=False)[["error"]].apply(one).reset_index()
    return table.astype({"n": int, "refused": int}) if len(table) else table


def intervals(frame: pd.DataFrame) -> dict[str, Any]:
    """How often our stated 90 % interval holds the truth, and how wide it is."""
    part = frame[frame["tool"] == "wattproof"]
    stated = part["energy_u_j"].astype(float)
    usable = part["energy_j"].notna() & stated.notna()
    part, half = part[usable], QUANTILE_90 * stated[usable]
    miss = (part["energy_j"].astype(float) - part["true_j"]).abs()
    return {
        "n": len(part),
        "without_interval": int((~usable).sum()),
        "coverage": float((miss <= half).mean()) if len(part) else None,
        "median_half_width": float((half / part["true_j"]).median()) if len(part) else None,
    }


def costs(results: dict[str, dict[str, Any]], captured: dict[str, float]) -> list[dict[str, Any]]:
    """CPU of each tool, and its captured share of the samples that it meant to take."""
    table: dict[str, dict[str, Any]] = {}
    for name, result in results.items():
        tool = "wattproof" if name == "ours" else name.partition("-")[0]
        share = 100.0 * result["cpu_s"] / result["duration_s"]
        if tool in table:  # a chain more: each is a tracker of its own
            table[tool]["cpu_percent"].append(share)
            continue
        table[tool] = {"tool": tool, "cpu_percent": [share]}
        if "expected" in result:
            table[tool]["captured"] = result["samples"] / result["expected"]
    if "wattproof" in table:
        table["wattproof"]["captured_by_lane"] = captured
    for row in table.values():
        row["processes"] = len(row["cpu_percent"])
        row["cpu_percent"] = float(np.mean(row["cpu_percent"]))
    return list(table.values())


def captured_by_lane(health: pd.DataFrame) -> dict[str, float]:
    """Share of expected readings that were taken, by lane, as table ``health`` tells it."""
    known = health[health["expected"].notna()]
    return {row.source: float(row.taken) / float(row.expected) for row in known.itertuples()}


def dump(path: Path, content: Any) -> None:
    """Write JSON; numbers rounded to what they carry."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if isinstance(value, float | np.floating):
            return None if np.isnan(value) else float(f"{float(value):.6g}")
        if isinstance(value, np.integer):
            return int(value)
        return value

    path.write_text(json.dumps(plain(content), indent=1, ensure_ascii=False), encoding="utf-8")
