"""Calibration files: what one node's calibration says, for use on another of the type."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wattproof import tables
from wattproof.calibration.base import Parameter
from wattproof.errors import WattproofError
from wattproof.tables import Meta

FORMAT = "wattproof-calibration-1"
TRANSFERABLE = ("load_aware", "load_aware_loads")
"""Estimators whose parameters can be kept, best first."""

CURVE = "curve_per_kw"
"""The one coefficient that belongs to no channel of its own."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a calibration file holds.

    Attributes:
        estimator: One of `TRANSFERABLE`.
        parameters: Coefficients of the model.
        valid_range: ``{quantity: (low, high, unit)}`` of the windows fitted.
        half_width: Relative half-width of the 90 % interval on the node itself; None if unproven.
        error_max: Largest held-out relative error on the node itself; None if unproven.
        n: Runs that proved it.
        held_out: How they were kept apart.
        between_nodes: Relative standard deviation between nodes of the type; None if unknown.
        nodes: Nodes that `between_nodes` comes from.
        provenance: Campaign, host, code version, instruments.
        simulated: Whether it was fitted on a virtual node.
    """

    estimator: str
    parameters: Mapping[str, Parameter]
    valid_range: Mapping[str, tuple[float, float, str]]
    half_width: float | None
    error_max: float | None
    n: int
    held_out: str
    between_nodes: float | None
    nodes: int
    provenance: Mapping[str, Any]
    simulated: bool


def from_calibration(
    table: pd.DataFrame, channels: pd.DataFrame, meta: Meta, estimator: str | None = None
) -> Transfer:
    """Take what another node needs out of a campaign's calibration.

    Args:
        table: Table ``calibration``.
        channels: Table ``channels``: the node's GPUs.
        meta: Provenance of the table.
        estimator: One of `TRANSFERABLE`; by default the first that was not refused.

    Raises:
        WattproofError: If none has parameters, with the reason.
    """
    rows = table.set_index("estimator")
    wanted = TRANSFERABLE if estimator is None else (estimator,)
    known = [name for name in wanted if name in rows.index and name in TRANSFERABLE]
    usable = [name for name in known if rows.loc[name, "parameters"] != "{}"]
    if not usable:
        why = str(rows.loc[known[0], "refused"]) if known else "it is none that can be kept"
        raise WattproofError(f"Calibration '{wanted[0]}' cannot be kept in a file: {why}.")
    row = rows.loc[usable[0]].to_dict()
    return Transfer(
        estimator=usable[0],
        parameters={k: Parameter(**v) for k, v in json.loads(row["parameters"]).items()},
        valid_range={k: (v[0], v[1], v[2]) for k, v in json.loads(row["valid_range"]).items()},
        half_width=None if pd.isna(row["width"]) else float(row["width"]) / 2,
        error_max=None if pd.isna(row["error_max"]) else float(row["error_max"]),
        n=int(row["n"]),
        held_out=str(row["held_out"]),
        between_nodes=None,
        nodes=1,
        provenance={
            "campaign": meta.campaign,
            "host": meta.host,
            "code_version": meta.code_version,
            "gpus": gpus_of(channels),
        },
        simulated=meta.simulated,
    )


def of_campaign(folder: str | Path, estimator: str | None = None) -> Transfer:
    """`from_calibration` of a finished campaign, e.g. ``results/node-a``.

    Raises:
        WattproofError: If its tables are not there, or nothing in them can be kept.
    """
    path = Path(folder) / "tables" / "calibration.parquet"
    listed = sorted(Path(folder).glob("recordings/*/channels.parquet"))
    if not path.exists() or not listed:
        raise WattproofError(
            f"{folder} has no tables/calibration.parquet or no recordings: "
            "name the results folder of a campaign that has been run."
        )
    channels = tables.read_frame(listed, "channels")
    kept = tables.read_frame(path, "calibration")
    return from_calibration(kept, channels, tables.read_meta(path), estimator)


def gpus_of(channels: pd.DataFrame) -> dict[str, int]:
    """Count a node's GPUs by model, as NVML names them."""
    rows = channels[channels["source"] == "nvml"].drop_duplicates("device")
    names = [(json.loads(text) if text else {}).get("name") for text in rows["identity"]]
    return {str(k): int(v) for k, v in pd.Series([n for n in names if n]).value_counts().items()}


def save(path: Path, transfer: Transfer) -> None:
    """Write a calibration file, whole or not at all."""
    content = {
        "format": FORMAT,
        "estimator": transfer.estimator,
        "parameters": {
            k: {"value": p.value, "unit": p.unit, "u": p.u} for k, p in transfer.parameters.items()
        },
        "valid_range": {k: list(v) for k, v in transfer.valid_range.items()},
        "half_width": transfer.half_width,
        "error_max": transfer.error_max,
        "n": transfer.n,
        "held_out": transfer.held_out,
        "between_nodes": transfer.between_nodes,
        "nodes": transfer.nodes,
        "provenance": dict(transfer.provenance),
        "simulated": transfer.simulated,
    }
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def load(path: str | Path) -> Transfer:
    """Read a calibration file.

    Raises:
        WattproofError: If it cannot be read or is no such file.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["format"] != FORMAT or content["estimator"] not in TRANSFERABLE:
            raise ValueError(f"its format is not {FORMAT}")
        found = Transfer(
            estimator=content["estimator"],
            parameters={k: Parameter(**v) for k, v in content["parameters"].items()},
            valid_range={k: (v[0], v[1], v[2]) for k, v in content["valid_range"].items()},
            **{
                key: content[key]
                for key in ("half_width", "error_max", "n", "held_out", "between_nodes", "nodes")
            },
            provenance=content["provenance"],
            simulated=bool(content["simulated"]),
        )
        lacking = {"base_w", *(f"per_{n.removesuffix('_w')}_w" for n in found.valid_range)}
        if not found.valid_range or lacking != set(found.parameters) - {CURVE}:
            raise ValueError("its parameters do not fit its valid range")
        numbers = [p.value for p in found.parameters.values()]
        numbers += [end for low, high, _ in found.valid_range.values() for end in (low, high)]
        if not np.isfinite(np.array(numbers, dtype=np.float64)).all():
            raise ValueError("a number in it is not finite")
    except OSError as error:
        raise WattproofError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        reason = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise WattproofError(f"{path} is no calibration of wattproof: {reason}.") from error
    return found
