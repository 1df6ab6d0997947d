"""The quality gate: which runs are left out of fits and of the measured table, and why, in words.

A run that fails the gate stays in the data set with all its figures, so that others may judge
otherwise; it only carries the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wattproof.dataset.lookup import METER, NODE_ESTIMATORS
from wattproof.errors import WattproofError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

KEYS: Mapping[str, Any] = {
    "severity": "error",
    "flags": [],
    "max_uncertainty": None,
    "min_epochs": 1,
    "energy_by": None,
    "known": [],
    "settings": None,
}
"""Keys of ``dataset.gate`` with their defaults."""

MEASURED = (
    *("node_energy_j", "gpu_energy_j", "smi_energy_j", "time_s", "val_accuracy", "test_accuracy"),
    *("inference_j_per_image", "inference_images_hz", "latency_s", "idle_w", "gpu_idle_w"),
)
"""Columns that ``dataset.gate.known`` may ask for."""


def check(asked: Mapping[str, Any], file: str) -> None:
    """Check what a schema cannot know of a gate: flags, instruments and columns exist.

    Args:
        asked: Keys of `KEYS`.
        file: Name of the campaign file, for messages.

    Raises:
        WattproofError: One sentence with file, key and remedy.
    """
    from wattproof.quality import FLAGS  # not at the top: users of a benchmark do without it

    for key, known, what in (
        ("flags", tuple(FLAGS), "a quality flag"),
        (
            "energy_by",
            (METER, *NODE_ESTIMATORS),
            "an instrument or estimator that may tell the node's energy",
        ),
        ("known", MEASURED, "a measured column of the data set"),
    ):
        for name in asked.get(key) or ():
            if name not in known:
                raise WattproofError(
                    f"{file}: key 'dataset.gate.{key}' names '{name}', which is not {what}."
                    f"{did_you_mean(name, known)} Correct it or remove it."
                )


def barred(gate: Mapping[str, Any]) -> frozenset[str]:
    """Flags that a run must not carry.

    Args:
        gate: Complete, see `KEYS`.
    """
    from wattproof.quality import FLAGS, SEVERITIES

    worst = gate["severity"]
    bad = SEVERITIES[: SEVERITIES.index(worst) + 1] if worst in SEVERITIES else ()
    return frozenset(name for name, flag in FLAGS.items() if flag.severity in bad) | {
        *gate["flags"]
    }


def reason(row: Mapping[str, Any], why: str, gate: Mapping[str, Any], bad: Set[str]) -> str:
    """Say why a run is left out; empty if it is not.

    Args:
        row: Row of table ``dataset``.
        why: Reason of a failed run.
        gate: Complete, see `KEYS`.
        bad: The flags that it bars, see `barred`.
    """
    if row["status"] != "ok":
        return f"it {row['status']}: {why}" if why else f"it {row['status']}"
    found = []
    if gate["settings"] is not None and row["setting"] not in gate["settings"]:
        found.append(f"trained {row['setting']}, not {' or '.join(gate['settings'])}")
    if flags := sorted(bad & set(row["flags"])):
        found.append(f"flagged {', '.join(flags)}")
    if row["epochs"] < gate["min_epochs"]:
        found.append(f"trained for {row['epochs']} epoch(s), fewer than {gate['min_epochs']}")
    found += _doubts(row, gate)
    if lacking := [name for name in gate["known"] if row.get(name) is None]:
        found.append(f"unknown: {', '.join(lacking)}")
    return "; ".join(found)


def _doubts(row: Mapping[str, Any], gate: Mapping[str, Any]) -> list[str]:
    """What the gate has against the energy of the node."""
    found = []
    accepted, by = gate["energy_by"], row["node_energy_by"]
    if accepted is not None and by not in accepted:
        found.append(f"node energy by {by or 'nothing'}, not by {' or '.join(accepted)}")
    most = gate["max_uncertainty"]
    value, low, high = (row.get(f"node_energy_{what}j") for what in ("", "low_", "high_"))
    if most is not None and value is not None:
        if low is None or high is None:
            found.append("node energy without bounds")
        elif (high - low) / 2 > most * abs(value):
            share = (high - low) / 2 / abs(value) if value else float("inf")
            found.append(f"node energy known to ±{share:.1%}, more than ±{most:.1%}")
    return found


def excluded(dataset: pd.DataFrame) -> pd.Series[str]:
    """Say of each run why the gate leaves it out; empty where it does not.

    Args:
        dataset: Table ``dataset``; older ones, without column ``excluded``, had no gate.
    """
    import pandas as pd

    if "excluded" not in dataset:
        return pd.Series("", index=dataset.index)
    return dataset["excluded"].fillna("")


def included(dataset: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell which runs take part in fits and in the measured table.

    Args:
        dataset: Table ``dataset``.

    Returns:
        A value for each row: it ended well, was trained at all, and passed the gate.
    """
    good = (dataset["status"] == "ok") & (dataset["epochs"] > 0) & (excluded(dataset) == "")
    return good.to_numpy(dtype=bool)
