"""The data set of a campaign: one row a run, one row an epoch, with energies by every estimator.

Nothing is computed here that another room computes: the rows of plan, runs, marks, energy and
estimates are joined, and for each run it is decided once which instrument its node energy comes
from, so that no curve mixes instruments. `gate` says which runs are left out of fits and why,
`folds` which networks are held out together.
"""

from __future__ import annotations

from wattproof.dataset.about import Facts, facts
from wattproof.dataset.folds import deal
from wattproof.dataset.gate import included
from wattproof.dataset.join import ENERGY_COLUMNS, build, used
from wattproof.dataset.lookup import METER, NODE_ESTIMATORS, Lookup

__all__ = [
    "ENERGY_COLUMNS",
    "METER",
    "NODE_ESTIMATORS",
    "Facts",
    "Lookup",
    "build",
    "deal",
    "facts",
    "included",
    "used",
]
