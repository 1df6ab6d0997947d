"""Attainment surfaces: what a share of a method's searches attains, in error and energy."""

from __future__ import annotations

import numpy as np
import pandas as pd

from wattproof.search.atlas import Floats
from wattproof.search.scoring import front_of

Curve = tuple[Floats, Floats]
"""Energies in joules, rising, and the error attained from there on."""


def points(front: pd.DataFrame) -> Floats:
    """Energy and test error of a front's members; n × 2."""
    energy_j = front["energy_j"].to_numpy(dtype=np.float64)
    error = 1.0 - front["test_accuracy"].to_numpy(dtype=np.float64)
    return np.stack([energy_j, error], axis=1)


def surface(fronts: pd.DataFrame, percent: float) -> Curve:
    """Return what that many percent of the searches (column ``seed``) attain or better."""
    import moocore

    if fronts.empty:
        return np.zeros(0), np.zeros(0)
    sets = pd.factorize(fronts["seed"], sort=True)[0] + 1
    found = np.asarray(moocore.eaf(points(fronts), sets=sets, percentiles=[percent]))
    return staircase(found[:, :2])


def staircase(found: Floats) -> Curve:
    """Return the non-dominated ones of n points (n × 2) as a staircase, for a ``post`` step."""
    keep = found[front_of(found)]
    keep = keep[np.argsort(keep[:, 0], kind="stable")]
    return keep[:, 0], keep[:, 1]
