"""Check a simulated campaign against its hidden truth.

This is the only room that reads the truth folder, and no rule of the workflow calls it: what the
analysis says must not depend on what it cannot know on real hardware.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
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
        energies: Per run: relative error of the NVML counter and of the meter,
            (truth − value) / truth.
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
                f"{error.max():.3%}, within {ENERGY_LIMIT:.0%}: {(error <= ENERGY_LIMIT).mean():.1%}"
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
    row: Any, clock: virtual_truth.MeterClock, start_ns: int, end_ns: int
) -> float | None:
    """Largest difference of found and true clock over a session, in seconds."""
    if not row.accepted:
        return None
    device_ns = np.array([clock.to_device_ns(start_ns), clock.to_device_ns(end_ns)])
    drift = row.drift_ppm * 1e-6 * (device_ns - row.anchor_ns)
    found_ns = device_ns + row.offset_ns + np.round(drift).astype(np.int64)
    return float(np.abs(found_ns - np.array([start_ns, end_ns])).max() / 1e9)


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
            tables.read_frame(folder / f"{name}.parquet", name)
            for name in ("clocks", "energy", "windows", "channels")
        )
        runs = windows[windows["level"] == "run"]
        for session, part in clocks.groupby("session"):
            place = results / "truth" / folder.name / f"session-{session:03d}"
            truth = virtual_truth.load(place)
            own = windows[windows["session"] == session]
            if own.empty:
                continue
            span = int(own["start_ns"].min()), int(own["end_ns"].max())
            simulated = set(channels[channels["simulated"].astype(bool)]["source"])
            for row in part[part["source"].isin(simulated)].itertuples():
                if row.clock == "device":
                    error = _clock_error_s(row, truth.meter_clock, *span)
                else:
                    error = abs(row.offset_ns) / 1e9 if row.accepted else None
                offsets.append(
                    _Offset(folder.name, int(session), row.source, bool(row.accepted), error)
                )
            for run in runs[runs["session"] == session].itertuples():
                energies.append(_run_errors(run, energy, truth))
    offset_frame = pd.DataFrame([asdict(row) for row in offsets])
    energy_frame = pd.DataFrame(energies)
    within = (energy_frame["nvml_error"].abs() <= ENERGY_LIMIT).mean()
    good = bool((offset_frame["error_s"] <= OFFSET_LIMIT_S).all() and within >= ENERGY_SHARE)
    return Verification(offset_frame, energy_frame, good)


def _run_errors(run: Any, energy: pd.DataFrame, truth: virtual_truth.Truth) -> dict[str, Any]:
    own = energy[energy["window_id"] == run.window_id].set_index("channel")["energy_j"]
    pairs = {"nvml": (f"gpu{run.slot}.energy", f"gpu{run.slot}"), "meter": ("node.ac", "node.ac")}
    errors: dict[str, Any] = {"run_id": run.run_id}
    for name, (channel, component) in pairs.items():
        true_j = truth.energy_j(component, int(run.start_ns), int(run.end_ns))
        value = own.get(channel)
        missing = value is None or pd.isna(value)
        errors[f"{name}_error"] = None if missing else (true_j - float(value)) / true_j
    return errors
