"""Which of several trials is the better one, when there are several objectives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wattproof.search.atlas import Floats


def ranks(costs: Floats) -> NDArray[np.int64]:
    """Place of each of n points: by front, and within a front the lonely ones first.

    Syne Tune's own priority (0.16) returns the *sorted indices* where its schedulers expect a
    place for each trial, so they keep or stop trials by the wrong one; this goes in its stead.

    Args:
        costs: n × m, all minimised, no NaN.

    Returns:
        0 (best) to n − 1, n.
    """
    import moocore
    from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance

    front = np.asarray(moocore.pareto_rank(costs))
    crowding = np.zeros(len(costs))
    for level in np.unique(front):
        members = np.flatnonzero(front == level)
        crowding[members] = calc_crowding_distance(costs[members])
    order = np.lexsort((-crowding, front))
    places = np.empty(len(costs), dtype=np.int64)
    places[order] = np.arange(len(costs))
    return places
