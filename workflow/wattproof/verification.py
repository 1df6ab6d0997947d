"""Check a simulated campaign against its hidden truth.

This is the only room that reads the truth folder, and no rule of the workflow calls it: what the
analysis says must not depend on what it cannot know on real hardware.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.virtual import truth as virtual_truth

OFFSET_LIMIT_S = 0.1
"""Bar of the demo: every source's offset within 100 ms of the truth."""
ENERGY_LIMIT = 0.02
ENERGY_SHARE = 0.95
"""Bar of the demo: counter energy within 2 % of the truth for at least 95 % of runs."""


@dataclass(frozen=True)
class Verification:
    """How far a simulated campaign is from the truth.

    Attributes:
        offsets: Per recording, session and source: error of the clock in seconds (null where the
            alignment was refused), largest over the session.
        energies: Per run: relative error of the NVML counter against what a perfect reading of
            the board would give, of the board itself (its gain and offset), and of the meter;
            each (truth − value) / truth.
        passed: The bars of this module hold.
    """

    offsets: pd.DataFrame
    energies: pd.DataFrame
    passed: bool

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        text = {name: getattr(self, name).to_json(orient="records") for name in _FRAMES}
        return {name: json.loads(value) for name, value in text.items()} | {"passed": self.passed}

    def __str__(self) -> str:
        """Return the summary for people."""
        error = self.offsets["error_s"].abs()
        lines = [
            f"clocks: {len(error)} aligned, largest error {error.max() * 1e3:.1f} ms "
            f"(bar {OFFSET_LIMIT_S * 1e3:.0f} ms), refused {int(error.isna().sum())}"
        ]
        for name in ("nvml", "meter"):
            error = self.energies[f"{name}_error"].abs()
            lines.append(
                f"{name} energy of {len(error)} runs: median error {error.median():.3%}, largest "
                f"{error.max():.3%}, within {ENERGY_LIMIT:.0%}: "
                f"{(error <= ENERGY_LIMIT).mean():.1%}"
            )
        board = self.energies["board_error"]
        lines.append(
            f"the boards' own sensors are off by {board.min():+.2%} to {board.max():+.2%} (gain "
            "and offset), beside that"
        )
        lines.append("passed" if self.passed else "FAILED")
        return "\n".join(lines)


_FRAMES = ("offsets", "energies")


@dataclass(frozen=True)
class _Offset:
    recording: str
    session: int
    source: str
    accepted: bool
    error_s: float | None


def _clock_error_s(
    found: dict[str, Any], true: virtual_truth.MeterClock, span_ns: tuple[int, int]
) -> float | None:
    """Largest difference of found and true clock at the ends of a session, in seconds."""
    if not found["accepted"]:
        return None
    errors = []
    for mono_ns in span_ns:
        # The device's stamp at this true instant, then what the found clock makes of it.
        since_anchor = (mono_ns - true.offset_ns - true.anchor_ns) / (1 + true.drift_ppm * 1e-6)
        device_ns = true.anchor_ns + round(since_anchor)
        drift_ns = found["drift_ppm"] * 1e-6 * (device_ns - found["anchor_ns"])
        errors.append(abs(device_ns + found["offset_ns"] + round(drift_ns) - mono_ns) / 1e9)
    return max(errors)


def verify(results: Path) -> Verification:
    """Compare clocks and energies of a simulated campaign with the truth kept aside.

    Raises:
        WattproofError: If the campaign has no truth folder.
    """
    if not (results / "truth").is_dir():
        raise WattproofError(
            f"{results}/truth does not exist: only campaigns on the virtual node have a truth."
        )
    offsets: list[_Offset] = []
    energies: list[dict[str, Any]] = []
    for folder in sorted((results / "recordings").iterdir()):
        clocks, energy, windows, channels = (
            tables.read(folder / f"{name}.parquet", name)
            for name in ("clocks", "energy", "windows", "channels")
        )
        simulated = {c["source"] for c in channels.to_pylist() if c["simulated"]}
        by_window: dict[str, dict[str, float | None]] = {}
        for row in energy.select(["window_id", "channel", "energy_j"]).to_pylist():
            by_window.setdefault(row["window_id"], {})[row["channel"]] = row["energy_j"]
        for session in sorted(set(clocks["session"].to_pylist())):
            place = results / "truth" / folder.name / f"session-{session:03d}"
            truth = virtual_truth.load(place)
            own = [w for w in windows.to_pylist() if w["session"] == session]
            if not own:
                continue
            span_ns = min(w["start_ns"] for w in own), max(w["end_ns"] for w in own)
            for row in clocks.to_pylist():
                if row["session"] == session and row["source"] in simulated:
                    if row["clock"] == "device":
                        error = _clock_error_s(row, truth.meter_clock(), span_ns)
                    else:
                        error = abs(row["offset_ns"]) / 1e9 if row["accepted"] else None
                    offsets.append(
                        _Offset(folder.name, session, row["source"], row["accepted"], error)
                    )
            runs = [w for w in own if w["level"] == "run"]
            energies += [_run_errors(run, by_window[run["window_id"]], truth) for run in runs]
    offset_frame = pd.DataFrame([asdict(row) for row in offsets])
    energy_frame = pd.DataFrame(energies)
    within = float((energy_frame["nvml_error"].abs() <= ENERGY_LIMIT).mean())
    aligned = bool((offset_frame["error_s"] <= OFFSET_LIMIT_S).all())
    return Verification(offset_frame, energy_frame, aligned and within >= ENERGY_SHARE)


def _run_errors(
    run: dict[str, Any], energy_j: dict[str, float | None], truth: virtual_truth.Truth
) -> dict[str, Any]:
    """Compare the energies of a run; a run without a slot of its own fills all GPUs."""
    start, end = run["start_ns"], run["end_ns"]
    every = range(truth.spec.slots)
    slots = every if run["slot"] is None else [run["slot"]]
    gpus = [float(truth.energy_j(f"gpu{slot}", start, end)) for slot in slots]
    # What a board shows of it: its own error is its maker's, not the analysis'.
    boards = [truth.spec.boards[slot] for slot in slots]
    seconds = (end - start) / 1e9
    shown = [
        board.gain * true_j + board.offset_w * seconds
        for board, true_j in zip(boards, gpus, strict=True)
    ]
    counted = [energy_j.get(f"gpu{slot}.energy") for slot in slots]
    nvml_j = None if None in counted else sum(value for value in counted if value is not None)
    node_j, meter_j = float(truth.energy_j("node.ac", start, end)), energy_j.get("node.ac")
    return {
        "run_id": run["run_id"],
        "nvml_error": _relative(nvml_j, sum(shown)),
        "board_error": _relative(sum(shown), sum(gpus)),
        "meter_error": _relative(meter_j, node_j),
    }


def _relative(value: float | None, true: float) -> float:
    return float("nan") if value is None else (true - value) / true
