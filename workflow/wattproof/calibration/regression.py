"""Node power as a non-negative linear function of CPU and GPU power, scored on held-out recordings.

``P_node = c0 + c1·P_socket + c2·P_gpu``, all coefficients ≥ 0 (see `heldout`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from wattproof.calibration import heldout
from wattproof.calibration.base import F64Array, Inputs, Outcome, estimator

INPUTS = ("socket_w", "gpu_w")


def _design(windows: pd.DataFrame) -> F64Array:
    return np.column_stack([np.ones(len(windows)), windows[list(INPUTS)].to_numpy(np.float64)])


MODEL = heldout.LinearModel({"base_w": "W", "per_socket_w": "1", "per_gpu_w": "1"}, INPUTS, _design)


@estimator("regression", "regression")
def regression(inputs: Inputs) -> Outcome:
    """Fit the node's power to CPU and GPU power; predict each recording from the others."""
    return heldout.estimate(inputs, MODEL)
