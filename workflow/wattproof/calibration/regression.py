"""Node power as a non-negative linear function of CPU and GPU power, scored on held-out recordings.

``P_node = c0 + c1·P_socket + c2·P_gpu``, all coefficients ≥ 0, least squares over run windows and
calibration loads. Every estimate of a window with a meter comes from a model that has not seen any
window of its recording (leave one recording out), so errors are errors of prediction; recordings
without a meter get the model of all others. The 90 % interval is that of conformal prediction: the
finite-sample quantile of the absolute relative errors of the *other* recordings' held-out windows
of the same level.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.calibration.base import (
    F64Array,
    Inputs,
    Outcome,
    Parameter,
    estimator,
    missing_cheap,
    refuse,
)
from wattproof.offsocket import LOADS

INTERVAL = 0.9
COLUMNS = {"base_w": "W", "per_socket_w": "1", "per_gpu_w": "1"}
MIN_WINDOWS = 3
INPUTS = ["socket_w", "gpu_w"]


def _design(windows: pd.DataFrame) -> F64Array:
    return np.column_stack([np.ones(len(windows)), windows[INPUTS].to_numpy(np.float64)])


def _fit(windows: pd.DataFrame) -> F64Array | None:
    """Coefficients (3,), or None if there are too few windows."""
    from scipy.optimize import nnls

    if len(windows) < MIN_WINDOWS:
        return None
    coefficients: F64Array = nnls(_design(windows), windows["meter_w"].to_numpy(np.float64))[0]
    return coefficients


def conformal_quantile(errors: F64Array, level: float = INTERVAL) -> float | None:
    """Return the ⌈(n + 1)·level⌉-th smallest absolute error; None if n is too small for it."""
    rank = math.ceil((len(errors) + 1) * level)
    return float(np.sort(np.abs(errors))[rank - 1]) if rank <= len(errors) else None


def _half_widths(
    error: F64Array, recording: NDArray[np.object_], level: NDArray[np.object_]
) -> F64Array:
    """Relative half-width of each window's interval from the other recordings' errors."""
    known = np.isfinite(error)
    found = np.full(len(error), np.nan)
    for one in pd.unique(recording):
        for name in pd.unique(level):
            mine = (recording == one) & (level == name)
            width = conformal_quantile(error[known & (recording != one) & (level == name)])
            if width is not None:
                found[mine] = width
    return found


def _uncertainties(held: list[F64Array]) -> list[float | None]:
    """Jackknife standard uncertainty of each coefficient, leaving out one recording at a time."""
    count = len(held)
    if count < 2:
        return [None] * len(COLUMNS)
    stack = np.stack(held)
    spread = np.sum((stack - stack.mean(axis=0)) ** 2, axis=0)
    return [float(u) for u in np.sqrt((count - 1) / count * spread)]


@estimator("regression", "regression")
def regression(inputs: Inputs) -> Outcome:
    """Fit the node's power to CPU and GPU power; predict each recording from the others."""
    targets = inputs.targets
    lacking = missing_cheap(targets)
    if lacking:
        return refuse(inputs, lacking)
    runs = targets[targets["level"] == "run"]
    loads = inputs.loads[inputs.loads["kind"].isin(LOADS)]
    training = pd.concat([runs, loads])
    training = training[training[["meter_w", *INPUTS]].notna().all(axis=1)]
    whole = _fit(training)
    if whole is None:
        if not training["meter_w"].notna().any():
            return refuse(inputs, "no energy from the meter (node.ac) to fit to")
        return refuse(inputs, f"only {len(training)} windows to fit to, {MIN_WINDOWS} are needed")

    recording = targets["recording"].to_numpy(object)
    design = _design(targets)
    predicted = np.full(len(targets), np.nan)
    left_out: list[F64Array] = []
    for one in pd.unique(recording):
        seen = (training["recording"] == one).any()
        model = _fit(training[training["recording"] != one]) if seen else whole
        if model is None:
            continue
        mine = recording == one
        predicted[mine] = design[mine] @ model
        if seen:
            left_out.append(model)
    parameters = {
        name: Parameter(float(value), unit, u)
        for (name, unit), value, u in zip(
            COLUMNS.items(), whole, _uncertainties(left_out), strict=True
        )
    }
    valid = {
        name: (float(training[name].min()), float(training[name].max()), "W") for name in INPUTS
    }
    if not np.isfinite(predicted).any():
        return refuse(
            inputs,
            "there is only one recording, so no window can be held out (record a second one)",
            parameters=parameters,
            valid_range=valid,
        )
    error = (targets["meter_w"].to_numpy(np.float64) - predicted) / predicted
    half = _half_widths(error, recording, targets["level"].to_numpy(object))
    energy = predicted * targets["duration_s"].to_numpy(np.float64)
    return Outcome(
        energy,
        energy * (1.0 - half),
        energy * (1.0 + half),
        parameters,
        valid,
        f"leave one recording out ({len(left_out)} recordings)",
        ""
        if np.isfinite(half).any()
        else "no interval: too few held-out windows in the other recordings, 9 are needed",
    )
