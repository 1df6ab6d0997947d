"""A calibration as a file, for other nodes of the type (estimator ``transferred``).

The file is JSON: parameters with uncertainties, the range of powers that they were fitted in, the
proven error, provenance. Two nodes of a type are not alike (boards, power supplies, fans), and one
node cannot tell by how much: `combine` learns that from files of two or more. Until it is known,
a transferred estimate has no interval. A window whose powers lie outside the valid range gets no
estimate, and the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from wattproof.calibration.base import (
    Estimator,
    F64Array,
    Inputs,
    Outcome,
    Parameter,
    missing_cheap,
    refuse,
)
from wattproof.calibration.kept import (
    CURVE,
    Transfer,
    from_calibration,
    gpus_of,
    load,
    of_campaign,
    save,
)
from wattproof.calibration.load_aware import W_PER_KW
from wattproof.errors import WattproofError
from wattproof.tables import Meta

__all__ = ["Transfer", "apply", "combine", "from_calibration", "load", "of_campaign", "save"]

MARGIN = 0.05
"""Share of a calibrated range by which a window may lie beyond either end of it."""


def combine(transfers: Sequence[Transfer]) -> Transfer:
    """Make one calibration of several nodes' of a type, and learn how unlike they are.

    The coefficients are the means. `between_nodes` is the largest relative standard deviation of
    what the nodes' models say at the middle of the common valid range and at its ends, one
    quantity at a time.

    Raises:
        WattproofError: If they are fewer than two, of different kinds, or without a common range.
    """
    if len(transfers) < 2:
        raise WattproofError("The spread between nodes needs calibrations of two nodes or more.")
    first = transfers[0]
    if any(
        (t.estimator, list(t.parameters), t.simulated, t.provenance.get("gpus"))
        != (first.estimator, list(first.parameters), first.simulated, first.provenance.get("gpus"))
        for t in transfers
    ):
        raise WattproofError(
            "These calibrations are not of one kind: estimator, parameters, GPUs and 'simulated' "
            "have to be the same in all of them."
        )
    common = {
        name: (
            max(t.valid_range[name][0] for t in transfers),
            min(t.valid_range[name][1] for t in transfers),
            unit,
        )
        for name, (_, _, unit) in first.valid_range.items()
    }
    apart = [name for name, (low, high, _) in common.items() if low > high]
    if apart:
        raise WattproofError(f"These calibrations have no common range of {' and '.join(apart)}.")
    stack = np.array([[p.value for p in t.parameters.values()] for t in transfers])
    middle = {name: (low + high) / 2 for name, (low, high, _) in common.items()}
    points = pd.DataFrame(
        [middle] + [middle | {n: end} for n, ends in common.items() for end in ends[:2]]
    )
    says = np.stack([_power_w(t, points) for t in transfers])
    spread = float(np.max(np.std(says, axis=0, ddof=1) / np.mean(says, axis=0)))
    widths = [t.half_width for t in transfers if t.half_width is not None]
    errors = [t.error_max for t in transfers if t.error_max is not None]
    return Transfer(
        estimator=first.estimator,
        parameters={
            name: Parameter(float(m), first.parameters[name].unit, float(u))
            for name, m, u in zip(
                first.parameters, stack.mean(axis=0), np.std(stack, axis=0, ddof=1), strict=True
            )
        },
        valid_range=common,
        half_width=max(widths) if len(widths) == len(transfers) else None,
        error_max=max(errors) if len(errors) == len(transfers) else None,
        n=sum(t.n for t in transfers),
        held_out=first.held_out,
        between_nodes=spread,
        nodes=len(transfers),
        provenance={
            "gpus": first.provenance.get("gpus"),
            "nodes": [dict(t.provenance) for t in transfers],
        },
        simulated=first.simulated,
    )


def _power_w(transfer: Transfer, windows: pd.DataFrame) -> F64Array:
    """What the model says of the node's power."""
    value = {name: p.value for name, p in transfer.parameters.items()}
    names = list(transfer.valid_range)
    seen = windows[names].to_numpy(np.float64)
    slopes = np.array([value[f"per_{n.removesuffix('_w')}_w"] for n in names])
    total = seen.sum(axis=1)
    power: F64Array = value["base_w"] + seen @ slopes + value.get(CURVE, 0.0) * total**2 / W_PER_KW
    return power


def reasons(transfer: Transfer, windows: pd.DataFrame) -> list[str]:
    """Say for each window why the calibration may not be used on it; empty where it may."""
    found = [""] * len(windows)
    for name, (low, high, unit) in transfer.valid_range.items():
        margin = MARGIN * (high - low)
        for i, value in enumerate(windows[name].to_numpy(np.float64)):
            if found[i]:
                continue
            if not np.isfinite(value):
                found[i] = f"{name} is unknown"
            elif not low - margin <= value <= high + margin:
                found[i] = (
                    f"{name} = {value:.1f} {unit} lies outside the calibrated range "
                    f"{low:.1f} to {high:.1f} {unit}"
                )
    return found


def half_width(transfer: Transfer) -> float | None:
    """Relative half-width of the 90 % interval on a node that the calibration has not seen.

    The node's own half-width, and Student's interval for one more node of the type.
    """
    from scipy import stats

    if transfer.half_width is None or transfer.between_nodes is None or transfer.nodes < 2:
        return None
    k = transfer.nodes
    more = float(stats.t.ppf(0.95, k - 1)) * float(np.sqrt(1 + 1 / k)) * transfer.between_nodes
    return float(np.hypot(transfer.half_width, more))


def apply(transfer: Transfer, inputs: Inputs) -> Outcome:
    """Estimate a node's energy by a calibration made elsewhere; no meter is used."""
    kept: dict[str, Any] = {
        "parameters": transfer.parameters,
        "valid_range": transfer.valid_range,
        "held_out": f"calibrated on {transfer.nodes} other node(s); nothing was fitted here",
    }
    targets = inputs.targets
    lacking = missing_cheap(targets)
    if lacking:
        return refuse(inputs, lacking, **kept)
    # Where one node's RAPL has no DRAM domain, its packages mean something else.
    if ("dram_w" in transfer.valid_range) != bool(targets["dram_w"].notna().any()):
        return refuse(inputs, "memory's power (RAPL DRAM) is known on one node only", **kept)
    why = reasons(transfer, targets)
    power = np.where([not text for text in why], _power_w(transfer, targets), np.nan)
    energy = power * targets["duration_s"].to_numpy(np.float64)
    half = half_width(transfer)
    width = np.nan if half is None else half
    outside = [text for text in why if text]
    said = []
    if outside:
        said.append(f"{len(outside)} of {len(why)} windows have no estimate, first: {outside[0]}")
    if half is None:
        said.append(
            "no interval: how unlike nodes of this type are is unknown "
            "(combine the calibrations of two or more)"
        )
    return Outcome(
        energy, energy * (1 - width), energy * (1 + width), refused="; ".join(said), **kept
    )


def as_estimator(transfer: Transfer) -> Estimator:
    """The estimator ``transferred`` for one campaign."""
    return Estimator("transferred", "transferred", lambda inputs: apply(transfer, inputs))


def check_same_type(transfer: Transfer, channels: pd.DataFrame, meta: Meta) -> None:
    """Refuse a calibration of another type of node, or of the other world.

    Raises:
        WattproofError: If GPUs differ, or one is simulated and the other is not.
    """
    if transfer.simulated != meta.simulated:
        here, there = ("simulated", "real") if meta.simulated else ("real", "simulated")
        raise WattproofError(
            f"analysis.calibration was made on a {there} node and this one is {here}; "
            "take a calibration of the same kind."
        )
    mine, theirs = gpus_of(channels), transfer.provenance.get("gpus")
    if theirs and mine and mine != theirs:
        raise WattproofError(
            f"analysis.calibration was made on a node with {theirs} and this one has {mine}; "
            "take one of the same type of node."
        )
