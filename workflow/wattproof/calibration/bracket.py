"""Node energy with off-socket power from one calibration load (paper.md section 8).

``E = packages + DRAM + GPUs + P_busy(load) · t``. Without knowing the load of a training, idle and
stress are the two ends of a bracket, not points; a load like the expected one (prime) is a point.
"""

from __future__ import annotations

import numpy as np

from wattproof.calibration.base import (
    F64Array,
    Inputs,
    Outcome,
    Parameter,
    estimator,
    missing_cheap,
    refuse,
)

HELD_OUT = "off-socket power from calibration loads only; no training window was used"


def _with_load(inputs: Inputs, kind: str) -> F64Array:
    targets = inputs.targets
    off_j = inputs.offsocket.power_w(kind) * targets["duration_s"]
    return (targets["socket_j"] + targets["gpu_j"] + off_j).to_numpy(np.float64)


def _estimate(inputs: Inputs, kind: str, bracket: bool) -> Outcome:
    reason = inputs.offsocket.why(kind) or missing_cheap(inputs.targets)
    if reason:
        return refuse(inputs, reason)
    energy = _with_load(inputs, kind)
    lower = upper = np.full(len(energy), np.nan)
    refused = ""
    if bracket:
        other = "stress" if kind == "idle" else "idle"
        if inputs.offsocket.why(other):
            refused = f"no bracket: {inputs.offsocket.why(other)}"
        else:
            ends = energy, _with_load(inputs, other)
            lower, upper = np.minimum(*ends), np.maximum(*ends)
    power = inputs.offsocket.by_kind[kind]
    return Outcome(
        energy,
        lower,
        upper,
        {"off_socket_w": Parameter(power.mean_w, "W", power.u_w)},
        held_out=HELD_OUT,
        refused=refused,
    )


@estimator("idle_calibrated", "idle (upper bound)")
def idle_calibrated(inputs: Inputs) -> Outcome:
    """Off-socket power at idle: the upper bound of the error, still an underestimate."""
    return _estimate(inputs, "idle", bracket=True)


@estimator("load_calibrated", "prime load")
def load_calibrated(inputs: Inputs) -> Outcome:
    """Off-socket power under the prime-number load: the prior estimate of a training's load."""
    return _estimate(inputs, "prime", bracket=False)


@estimator("stress_bound", "stress (lower bound)")
def stress_bound(inputs: Inputs) -> Outcome:
    """Off-socket power under full CPU and memory stress: the lower bound of the error."""
    return _estimate(inputs, "stress", bracket=True)
