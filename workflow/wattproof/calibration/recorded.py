"""What Code Carbon itself said, where a recording has it, against the meter.

The other estimators of that name are its rules applied to our own channels; this one is the
library's own figure: its own sampling, its own fall-backs (a CPU model where it may not read RAPL,
memory by its release's rule).
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from wattproof.calibration.base import Estimator, Inputs, Outcome, refuse
from wattproof.offsocket import usable_energy_j

CHANNEL = "codecarbon.node"
NAME = "code_carbon_recorded"


def as_estimator(energy: pd.DataFrame, channels: pd.DataFrame) -> Estimator | None:
    """The estimator, or None where no recording has the channel.

    Args:
        energy: Table ``energy``.
        channels: Table ``channels``: the release, if one and the same.
    """
    rows = energy[energy["channel"] == CHANNEL]
    if rows.empty:
        return None
    known = pd.Series(usable_energy_j(rows).to_numpy(), index=rows["window_id"].to_numpy())
    known = known[~known.index.duplicated()]
    listed = channels.loc[channels["channel"] == CHANNEL, "identity"]
    versions = {(json.loads(text) if text else {}).get("version") for text in listed} - {None}
    version = f" {versions.pop()}" if len(versions) == 1 else ""

    def rule(inputs: Inputs) -> Outcome:
        joules = known.reindex(inputs.targets.index).to_numpy(np.float64)
        if not np.isfinite(joules).any():
            return refuse(inputs, "no window has enough samples of Code Carbon's own figure")
        nothing = np.full(len(joules), np.nan)
        how = "no parameter is fitted"
        missing = int((~np.isfinite(joules)).sum())
        why = f"{missing} of {len(joules)} windows lack Code Carbon's own figure" if missing else ""
        return Outcome(joules, nothing, nothing, held_out=how, refused=why)

    return Estimator(NAME, f"Code Carbon{version}, recorded", rule)
