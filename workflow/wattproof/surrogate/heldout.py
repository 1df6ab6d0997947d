"""Held-out predictions at the end of each training, beside what was measured: for figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wattproof.surrogate import conformal
from wattproof.surrogate.cells import HeldOut, ends, natural
from wattproof.surrogate.noise import Noise


def rows(
    held: HeldOut,
    noise: Noise,
    level: float,
    run_ids: Sequence[str],
    network_keys: Sequence[str],
    edges: Sequence[float] = (),
) -> list[dict[str, Any]]:
    """Tell measured, predicted and interval of each target at the end of each run.

    Args:
        held: Held-out predictions with folds; an interval is set by cells of other folds.
        noise: Noise of the campaign.
        level: Nominal coverage.
        run_ids: Identity of each run.
        network_keys: Realised network of each run.
        edges: Strata of the intervals, see `conformal.learn`.

    Returns:
        Rows of table ``held_out``, by target and run.
    """
    cells, scales = held.cells, held.cells.scales
    half = conformal.held_out_half_widths(held, noise.at(cells.epoch, cells.epochs), level, edges)
    measured, predicted = natural(cells.truth, scales), natural(held.guess, scales)
    low, high = ends(held.guess, half, scales)
    found = []
    for column, target in enumerate(cells.targets):
        known = np.isfinite(cells.truth[:, column]) & np.isfinite(held.guess[:, column])
        for cell in np.flatnonzero(known & cells.final).tolist():
            run = int(cells.run[cell])
            bounded = bool(np.isfinite(half[cell, column]))
            found.append(
                {
                    "target": target,
                    "run_id": run_ids[run],
                    "network_key": network_keys[run],
                    "measured": float(measured[cell, column]),
                    "predicted": float(predicted[cell, column]),
                    "low": float(low[cell, column]) if bounded else None,
                    "high": float(high[cell, column]) if bounded else None,
                }
            )
    return found
