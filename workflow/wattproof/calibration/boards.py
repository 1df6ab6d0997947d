"""Gain of each GPU's power sensor, as far as the node's meter can tell it.

While one board's power moves, the node's power moves with it. Fitted over all windows,

``P_node = c(recording) + c1·P_packages + c2·P_dram + Σ s_k·P_k + c3·(P_seen² − mean²)/kW``

by least squares weighted with the windows' lengths; each recording has a constant of its own, as
the meter's offset and the room's temperature are those of a day, and c3 is the curve of the power
supplies, so that slopes are those at the mean of all windows. A board's slope
``s_k = (1 + growth)/gain_k`` contains its sensor's gain and the growth of the power that no sensor
sees (fans, regulators, power supplies). One meter cannot tell the two apart. What it does tell:

* ``relative_gain``: gain against the mean of the boards, as growth is the same for boards in one
  chassis. Two boards or more have to be stepped separately from each other.
* ``gain_at_least`` = 1/s_k, as growth is never negative.

An offset of the sensor is a constant like the node's own and cannot be told by any load. A board
that never moved, or moved only along with another or with the CPUs, is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.calibration.base import F64Array, Parameter
from wattproof.offsocket import LOADS, gpu_rows, nvml_by_gpu

NAME = "board_gain"
MIN_MOVE_W = 5.0
"""Standard deviation of a board's power by itself, all others held, that a slope needs."""

MIN_RECORDINGS = 4
"""Uncertainties are had by leaving out one recording at a time: windows of one overlap in time."""

W_PER_KW = 1000.0
MAX_U = 0.03
"""A relative gain that is known no better says nothing: boards differ by a few percent."""

NO_OFFSET = "an offset of the sensor cannot be told from the node's own constant power"
CIRCULAR = "absolute gain cannot be told from the growth of off-socket power, only a lower bound"


def rows(energy: pd.DataFrame, balance: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows of table ``calibration``, one a board that NVML has seen.

    Args:
        energy: Table ``energy``.
        balance: Its `wattproof.offsocket.node_balance`.
    """
    seen = gpu_rows(energy)
    devices = seen[seen["source"] == "nvml"].drop_duplicates("gpu").set_index("gpu")["device"]
    if devices.empty:
        return []
    watts = _board_powers(energy, balance)
    boards = [int(k) for k in sorted(devices.index)]
    why, windows = _usable(balance, watts.reindex(columns=boards))
    found: dict[int, dict[str, Parameter]] = {}
    reasons = dict.fromkeys(boards, why)
    if not why:
        found, reasons = _fit(windows, boards)
    return [
        {
            "estimator": NAME,
            "device": str(devices[k]),
            "label": f"gain of GPU {k}",
            "parameters": json.dumps({n: asdict(p) for n, p in found.get(k, {}).items()}),
            "valid_range": json.dumps(
                {"gpu_w": [float(windows[k].min()), float(windows[k].max()), "W"]}
                if k in found
                else {}
            ),
            "held_out": "",
            "n": len(windows) if k in found else 0,
            "error_median": None,
            "error_q1": None,
            "error_q3": None,
            "error_max": None,
            "coverage": None,
            "width": None,
            "refused": reasons[k],
        }
        for k in boards
    ]


def _board_powers(energy: pd.DataFrame, balance: pd.DataFrame) -> pd.DataFrame:
    """Mean power of each board (columns) in each window (rows)."""
    best = nvml_by_gpu(energy)
    joules = best.pivot(index="window_id", columns="gpu", values="energy_j")
    return joules.reindex(balance.index).div(balance["duration_s"], axis=0)


def _usable(balance: pd.DataFrame, watts: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Windows with all that the fit needs: epochs (runs where there are none) and loads."""
    table = balance.join(watts)
    level = "epoch" if (table["level"] == "epoch").any() else "run"
    loads = (table["level"] == "load") & table["kind"].isin(LOADS)
    known = table[["meter_w", "packages_w", *watts.columns]].notna().all(axis=1)
    kept = table[((table["level"] == level) | loads) & known].copy()
    kept["dram_w"] = kept["dram_w"].fillna(0.0)
    if not table["meter_w"].notna().any():
        return "no energy from the meter (node.ac)", kept
    if kept["recording"].nunique() < MIN_RECORDINGS:
        return f"fewer than {MIN_RECORDINGS} recordings with meter, CPUs and all GPUs", kept
    wanted = 2 * (4 + len(watts.columns))
    if len(kept) < wanted:
        return f"only {len(kept)} windows with meter, CPUs and all GPUs; {wanted} are needed", kept
    return "", kept


def _centred(windows: pd.DataFrame, boards: Sequence[int]) -> F64Array:
    """Boards, packages, DRAM, curve and node power, less each recording's mean, times √weight."""
    names = [*boards, "packages_w", "dram_w"]
    seen = windows[names].to_numpy(np.float64)
    weight = windows["duration_s"].to_numpy(np.float64)
    total = seen.sum(axis=1)
    total = total - np.average(total, weights=weight)
    values = np.column_stack([seen, total**2 / W_PER_KW, windows["meter_w"].to_numpy(np.float64)])
    recording = pd.factorize(windows["recording"])[0]
    length = np.bincount(recording, weights=weight)
    means = np.stack(
        [np.bincount(recording, weights=weight * column) / length for column in values.T], axis=1
    )
    centred: F64Array = (values - means[recording]) * np.sqrt(weight / weight.sum())[:, None]
    return centred


def _moves_w(centred: F64Array, count: int) -> F64Array:
    """How much each board moves by itself: standard deviation of what the others do not tell."""
    terms = centred[:, :-1]
    found = np.zeros(count)
    for k in range(count):
        others = np.delete(terms, k, axis=1)
        along = np.linalg.lstsq(others, terms[:, k], rcond=None)[0]
        found[k] = float(np.sqrt(np.sum((terms[:, k] - others @ along) ** 2)))
    return found


def _fit(
    windows: pd.DataFrame, boards: Sequence[int]
) -> tuple[dict[int, dict[str, Parameter]], dict[int, str]]:
    count = len(boards)
    centred = _centred(windows, boards)
    moves = _moves_w(centred, count)
    told = np.flatnonzero(moves >= MIN_MOVE_W)
    reasons = {
        board: f"it moved by itself by only {moves[k]:.1f} W, {MIN_MOVE_W:g} W are needed: train "
        "on it while the other boards do something else"
        for k, board in enumerate(boards)
    }
    if len(told) == 0:
        return {}, reasons

    def all_of(keep: NDArray[np.bool_]) -> F64Array:
        slopes = np.linalg.lstsq(centred[keep, :-1], centred[keep, -1], rcond=None)[0][told]
        relative: F64Array = slopes.mean() / np.where(slopes == 0, np.nan, slopes)
        return np.concatenate([slopes, relative])

    recording = pd.factorize(windows["recording"])[0]
    size = int(recording.max()) + 1
    whole = all_of(np.ones(len(windows), dtype=bool))
    held = np.stack([all_of(recording != one) for one in range(size)])
    u = np.sqrt((size - 1) / size * np.sum((held - held.mean(axis=0)) ** 2, axis=0))
    found: dict[int, dict[str, Parameter]] = {}
    for place, k in enumerate(told.tolist()):
        slope, u_slope = float(whole[place]), float(u[place])
        if slope <= 0 or u_slope > 0.1 * slope:
            reasons[boards[k]] = (
                f"the meter tells its slope only as {slope:.3g} ± {u_slope:.2g}: record more runs "
                "in which it moves by itself"
            )
            continue
        mine = {
            "slope": Parameter(slope, "1", u_slope),
            "gain_at_least": Parameter(1 / slope, "1", u_slope / slope**2),
        }
        lacking = [CIRCULAR, NO_OFFSET]
        relative, u_relative = float(whole[len(told) + place]), float(u[len(told) + place])
        if len(told) == 1:
            lacking.insert(0, "no relative gain: no other board moved by itself")
        elif not u_relative <= MAX_U:
            lacking.insert(0, f"relative gain is known only within ± {100 * u_relative:.1f} %")
        else:
            mine["relative_gain"] = Parameter(relative, "1", u_relative)
        found[boards[k]] = mine
        reasons[boards[k]] = "; ".join(lacking)
    return found, reasons


def relative_gains(table: pd.DataFrame) -> Mapping[str, Parameter]:
    """Read the relative gains by UUID out of table ``calibration``."""
    mine = table[table["estimator"] == NAME]
    found = {}
    for device, text in zip(mine["device"], mine["parameters"], strict=True):
        parameters = json.loads(text)
        if "relative_gain" in parameters:
            found[str(device)] = Parameter(**parameters["relative_gain"])
    return found
