"""Run every estimator on a campaign and score it against the meter (principle 3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from wattproof import tables
from wattproof.agreement import compare, seeded
from wattproof.calibration import boards, recorded
from wattproof.calibration.base import ESTIMATORS, Estimator, Inputs, Outcome
from wattproof.offsocket import CALIBRATION, WINDOW_COLUMNS, OffSocket, node_balance

REFERENCE = "meter"
NO_METER = "no energy from the meter (node.ac), so its error is unknown"

INFERENCE = ("throughput", "latency")
"""Kinds of phases that are estimated beside runs and epochs."""

BYTES_PER_GIB = 2**30


@dataclass(frozen=True)
class Calibration:
    """Result of `calibrate`.

    Attributes:
        table: Table ``calibration``: one row an estimator, then one a board (`boards`).
        estimates: Table ``estimates``: window of a training or of its inference × estimator;
            refused estimators have none.
        agreement: Table ``agreement`` of the estimators against the meter.
    """

    table: pd.DataFrame
    estimates: pd.DataFrame
    agreement: pd.DataFrame


def _host(channels: pd.DataFrame) -> dict[str, Any]:
    """Identity of the source host, all its channels together."""
    found: dict[str, Any] = {}
    for text in channels.loc[channels["source"] == "host", "identity"]:
        found |= json.loads(text) if text else {}
    return found


def memory_gib(channels: pd.DataFrame, settings: Mapping[str, Any]) -> float | None:
    """Return the node's memory: from the settings, else from the identity of source host.

    Args:
        channels: Table ``channels``; keys ``memory_gib`` or ``memory_bytes`` of the identity.
        settings: May hold ``memory_gib``.
    """
    if settings.get("memory_gib") is not None:
        return float(settings["memory_gib"])
    identity = _host(channels)
    if identity.get("memory_gib") is not None:
        return float(identity["memory_gib"])
    size = identity.get("memory_bytes")
    return None if size is None else float(size) / BYTES_PER_GIB


def _is_arm(channels: pd.DataFrame, settings: Mapping[str, Any]) -> bool:
    machine = settings.get("machine") or _host(channels).get("machine") or ""
    return str(machine).lower().startswith(("arm", "aarch"))


def _estimates(name: str, outcome: Outcome, targets: pd.DataFrame) -> pd.DataFrame:
    reference = targets["meter_j"].to_numpy(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(reference > 0, (reference - outcome.energy_j) / reference, np.nan)
    return targets.reset_index()[list(WINDOW_COLUMNS)].assign(
        estimator=name,
        energy_j=outcome.energy_j,
        lower_j=outcome.lower_j,
        upper_j=outcome.upper_j,
        reference_j=reference,
        relative_error=error,
    )


def _coverage(estimates: pd.DataFrame) -> float | None:
    """Share of windows whose reference lies inside the stated interval; None without any."""
    both = estimates[["lower_j", "upper_j", "reference_j"]].notna().all(axis=1)
    if not both.any():
        return None
    inside = estimates.loc[both, "reference_j"].between(
        estimates.loc[both, "lower_j"], estimates.loc[both, "upper_j"]
    )
    return float(inside.mean())


def _width(estimates: pd.DataFrame) -> float | None:
    """Mean width of the stated intervals as a share of the reference; None without any."""
    both = estimates[["lower_j", "upper_j", "reference_j"]].notna().all(axis=1)
    if not both.any():
        return None
    mine = estimates[both]
    return float(((mine["upper_j"] - mine["lower_j"]) / mine["reference_j"]).mean())


def score(entry: Estimator, outcome: Outcome, estimates: pd.DataFrame) -> dict[str, Any]:
    """One row of table ``calibration``: parameters, and the errors over the run windows."""
    runs = estimates[estimates["level"] == "run"]
    error = runs["relative_error"].dropna().to_numpy(np.float64)
    reasons = [outcome.refused] if outcome.refused else []
    if not reasons or len(error):
        if not runs["reference_j"].notna().any():
            reasons.append(NO_METER)
        elif not len(error):
            reasons.append("no run has both an estimate and a reference")
    q1, median, q3 = np.quantile(error, (0.25, 0.5, 0.75)) if len(error) else (None,) * 3
    return {
        "estimator": entry.name,
        "device": "node",
        "label": entry.label,
        "parameters": json.dumps({k: asdict(p) for k, p in outcome.parameters.items()}),
        "valid_range": json.dumps({k: list(v) for k, v in outcome.valid_range.items()}),
        "held_out": outcome.held_out,
        "n": len(error),
        "error_median": median,
        "error_q1": q1,
        "error_q3": q3,
        "error_max": float(np.max(np.abs(error))) if len(error) else None,
        "coverage": _coverage(runs),
        "width": _width(runs),
        "refused": "; ".join(reasons),
    }


def agreement_rows(
    entry: Estimator,
    refused: str,
    estimates: pd.DataFrame,
    durations: pd.Series,
    seed: int,
    alpha: float,
) -> list[dict[str, Any]]:
    """Rows of table ``agreement`` of one estimator: setting × level × quantity."""
    found: list[dict[str, Any]] = []
    time_s = estimates["window_id"].map(durations)
    for (setting, level), group in estimates.groupby(["setting", "level"], sort=True):
        here = time_s.loc[group.index]
        for quantity, divisor in (("energy", 1.0), ("power", here)):
            result = compare(
                group["energy_j"] / divisor,
                group["reference_j"] / divisor,
                group["run_id"],
                alpha=alpha,
                rng=seeded(seed, str(setting), str(level), quantity, entry.name),
                no_reference="no reference: no energy from the meter (node.ac)",
            )
            row = result.as_row()
            if result.n == 0 and refused:
                row["refused"] = refused
            found.append(
                {
                    "setting": setting,
                    "level": level,
                    "quantity": quantity,
                    "label": entry.label,
                    "source": entry.name,
                    "channel": "node",
                    "reference": REFERENCE,
                    **row,
                }
            )
    return found


def calibrate(
    energy: pd.DataFrame,
    channels: pd.DataFrame,
    offsocket: OffSocket,
    settings: Mapping[str, Any],
    transferred: Estimator | None = None,
) -> Calibration:
    """Estimate the node's energy by every registered estimator and score each on the run windows.

    Args:
        energy: Table ``energy``.
        channels: Table ``channels``: memory size and machine of the host.
        offsocket: From `wattproof.offsocket.fit`.
        settings: ``alpha``; optionally ``memory_gib``, ``machine``, ``seed`` (default 0).
        transferred: A calibration made on another node (`transfer.as_estimator`).

    Returns:
        Three tables. relative_error = (meter − estimate)/meter. Whatever cannot be had is null,
        with the reason in ``refused``.
    """
    balance = node_balance(energy)
    training = balance["setting"] != CALIBRATION
    inference = (balance["level"] == "phase") & balance["kind"].isin(INFERENCE)
    targets = balance[training & (balance["level"].isin(("run", "epoch")) | inference)]
    inputs = Inputs(
        targets=targets,
        loads=balance[balance["level"] == "load"],
        offsocket=offsocket,
        memory_gib=memory_gib(channels, settings),
        arm=_is_arm(channels, settings),
    )
    seed, alpha = int(settings.get("seed", 0)), float(settings["alpha"])
    rows: list[dict[str, Any]] = []
    compared: list[dict[str, Any]] = []
    kept: list[pd.DataFrame] = []
    library = recorded.as_estimator(energy, channels)
    entries = [library, *ESTIMATORS.values(), transferred]
    for entry in (one for one in entries if one is not None):
        outcome = entry.rule(inputs)
        estimates = _estimates(entry.name, outcome, targets)
        rows.append(score(entry, outcome, estimates))
        # The scores are of trainings; inference phases are estimated for the data set only.
        scored = estimates[estimates["level"] != "phase"]
        compared += agreement_rows(
            entry, outcome.refused, scored, targets["duration_s"], seed, alpha
        )
        if np.isfinite(outcome.energy_j).any():
            kept.append(estimates)
    return Calibration(
        table=pd.DataFrame(rows + boards.rows(energy, balance)),
        estimates=pd.concat(kept, ignore_index=True) if kept else tables.empty("estimates"),
        agreement=pd.DataFrame(compared) if compared else tables.empty("agreement"),
    )
