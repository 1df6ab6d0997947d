"""Node power from what each part draws, through the power supplies' curve.

The node's DC power is a sum of parts that no instrument sees, each growing with one that an
instrument does see: board and voltage regulators with the packages, memory's with DRAM, fans and
regulators with the GPUs. The power supplies add a loss that grows faster than linearly. So

``P_node = c0 + c1·P_packages + c2·P_dram + c3·P_gpu + c4·(P_packages + P_dram + P_gpu)²/kW``

with all coefficients ≥ 0: more load never costs less. What the simple regression lacks is that a
watt of memory has other company than a watt of CPU (fans, regulators), and the curve: both matter
as soon as trainings load a node otherwise than the calibration loads do.

Two variants, for two situations: ``load_aware`` also learns from other recordings' trainings with a
meter; ``load_aware_loads`` only from calibration loads, as where the meter was borrowed for an
afternoon (without c4: four loads cannot tell a curve). A node without a DRAM domain has memory's
power in c0 and c1.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from wattproof.calibration import heldout
from wattproof.calibration.base import F64Array, Inputs, Outcome, estimator

PARTS = ("packages_w", "dram_w", "gpu_w")
W_PER_KW = 1000.0


def _design(windows: pd.DataFrame, parts: tuple[str, ...], curve: bool) -> F64Array:
    seen = windows[list(parts)].to_numpy(np.float64)
    terms = [np.ones(len(windows)), seen]
    if curve:
        terms.append(seen.sum(axis=1) ** 2 / W_PER_KW)
    return np.column_stack(terms)


def _model(inputs: Inputs, trainings: bool) -> heldout.LinearModel:
    memory = inputs.targets["dram_w"].notna().any() and inputs.loads["dram_w"].notna().any()
    parts = PARTS if memory else tuple(p for p in PARTS if p != "dram_w")
    columns = {"base_w": "W"} | {f"per_{p.removesuffix('_w')}_w": "1" for p in parts}
    # Four loads are four points: they can tell a level and three slopes, and no curve as well.
    if trainings:
        columns["curve_per_kw"] = "1/kW"
    return heldout.LinearModel(
        columns, parts, lambda windows: _design(windows, parts, trainings), trainings
    )


@estimator("load_aware_loads", "load-aware, loads only")
def load_aware_loads(inputs: Inputs) -> Outcome:
    """Fit the parts to the calibration loads alone; every training is held out."""
    return heldout.estimate(inputs, _model(inputs, trainings=False))


@estimator("load_aware", "load-aware")
def load_aware(inputs: Inputs) -> Outcome:
    """Fit the parts to loads and trainings; predict each recording from the others."""
    return heldout.estimate(inputs, _model(inputs, trainings=True))
