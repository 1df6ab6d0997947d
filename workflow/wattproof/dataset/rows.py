"""One row of the data set, and the rows of its curve."""

from __future__ import annotations

from collections.abc import Sequence

from wattproof.dataset.idle import Idle
from wattproof.dataset.lookup import LATENCY, SMI, THROUGHPUT, Key, Lookup, Row

COPIED = ("run_id", "setting", "recording", "status", "epochs", "macs", "params", "activations")
"""Columns of table ``runs`` that are known of failed runs, too."""

BOUNDS = ("energy_j", "energy_low_j", "energy_high_j")
"""Energy by an estimator and its 90 % bounds; its name follows."""


def of_run(
    outcome: Row, planned: Row, node_by: str, estimators: Sequence[str], lookup: Lookup, idle: Idle
) -> Row:
    """Return the row of a run, without what only the whole set can say (fold, excluded).

    Args:
        outcome: Row of table ``runs``.
        planned: Its row of the plan.
        node_by: Who tells the node's energy.
        estimators: Names of all estimators.
        lookup: Of its recording.
        idle: Of its recording.
    """
    key: Key = (outcome["run_id"], None)
    row: Row = {
        "network_key": planned["network_key"],
        "seed": planned["seed"],
        "node_energy_by": node_by,
        "flags": [],
        **{name: outcome[name] for name in COPIED},
        **{f"{what}_{name}": None for name in estimators for what in BOUNDS},
    }
    if outcome["status"] != "ok":
        return row
    slot, session = outcome["slot"], outcome["session"]
    gpu_j, gpu_flags = lookup.gpus(key, slot)
    node_j, low_j, high_j, node_flags = lookup.node(key, node_by)
    seconds = lookup.seconds(key)
    return row | {
        "time_s": outcome["duration_s"] if seconds is None else seconds,
        "val_accuracy": outcome["val_accuracy"],
        "test_accuracy": outcome["test_accuracy"],
        "gpu_energy_j": gpu_j,
        # nvidia-smi's own flags stay in table energy: nothing else of the run rests on it.
        "smi_energy_j": lookup.gpus(key, slot, SMI)[0],
        "node_energy_j": node_j,
        "node_energy_low_j": low_j,
        "node_energy_high_j": high_j,
        "idle_w": idle.node_w(session),
        "gpu_idle_w": idle.gpus_w(session, slot),
        **_inference(outcome["run_id"], node_by, lookup),
        "flags": sorted({*node_flags, *gpu_flags}),
        **_estimated(key, estimators, lookup),
    }


def _estimated(key: Key, estimators: Sequence[str], lookup: Lookup) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in estimators:
        node = lookup.estimate(key, name)
        values = (None, None, None) if node is None else (node.energy_j, node.low_j, node.high_j)
        found |= {f"{what}_{name}": value for what, value in zip(BOUNDS, values, strict=True)}
    return found


def _inference(run_id: str, node_by: str, lookup: Lookup) -> dict[str, float | None]:
    """Energy and time of inference; null where the phase was not run or its energy is unknown."""
    images, alone = (lookup.images.get((run_id, name)) for name in (THROUGHPUT, LATENCY))
    seconds, alone_s = (lookup.seconds((run_id, name)) for name in (THROUGHPUT, LATENCY))
    node_j = lookup.node((run_id, THROUGHPUT), node_by).energy_j
    return {
        "inference_j_per_image": node_j / images if node_j is not None and images else None,
        "inference_images_hz": images / seconds if images and seconds else None,
        "latency_s": alone_s / alone if alone and alone_s is not None else None,
    }


def of_epochs(outcome: Row, planned: Row, node_by: str, lookup: Lookup) -> list[Row]:
    """Return the rows of a run's curve, one an epoch.

    Args:
        outcome: Row of table ``runs``, of a run that ended well.
        planned: Its row of the plan.
        node_by: Who tells the node's energy.
        lookup: Of its recording.
    """
    rows = []
    for epoch in range(outcome["epochs"]):
        key: Key = (outcome["run_id"], epoch)
        mark = lookup.marks.get(key, {})
        gpu_j, gpu_flags = lookup.gpus(key, outcome["slot"])
        node_j, _, _, node_flags = lookup.node(key, node_by)
        seconds = lookup.seconds(key)
        rows.append(
            {
                "run_id": outcome["run_id"],
                "network_key": planned["network_key"],
                "epoch": epoch,
                "train_loss": mark.get("train_loss"),
                "val_accuracy": mark.get("val_accuracy"),
                "time_s": seconds,
                "gpu_energy_j": gpu_j,
                "smi_energy_j": lookup.gpus(key, outcome["slot"], SMI)[0],
                "node_energy_j": node_j,
                "gpu_power_w": _power_w(gpu_j, seconds),
                "node_power_w": _power_w(node_j, seconds),
                "flags": sorted({*node_flags, *gpu_flags}),
            }
        )
    return rows


def _power_w(energy_j: float | None, seconds: float | None) -> float | None:
    return energy_j / seconds if energy_j is not None and seconds else None
