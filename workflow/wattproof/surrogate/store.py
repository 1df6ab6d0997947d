"""The files of a surrogate: what `wattproof.surrogate.fit` writes and `Predictor` reads.

``encoding.json`` (inputs), ``surrogate.json`` (what the outputs mean), ``noise.json``,
``intervals.json``, ``novelty.json`` (how far to trust them), ``models/surrogate.onnx`` (models).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wattproof.surrogate import export
from wattproof.surrogate.conformal import Intervals
from wattproof.surrogate.curves import RunTable
from wattproof.surrogate.heads import Heads
from wattproof.surrogate.layout import GRAPH, VERSION
from wattproof.surrogate.learning import Part
from wattproof.surrogate.noise import Noise
from wattproof.surrogate.novelty import Novelty
from wattproof.surrogate.targets import ALL


def write(
    table: RunTable,
    parts: Mapping[str, Part],
    noise: Noise,
    intervals: Intervals,
    novelty: Novelty,
    proof: Mapping[str, Any],
    folder: Path,
) -> None:
    """Write the files; equal inputs give equal bytes.

    Args:
        table: What was learned from.
        parts: Models by group, all learned from the whole table.
        noise: Of trainings.
        intervals: Around predictions.
        novelty: What is inside of what was trained.
        proof: How well it tells what is not, see `wattproof.surrogate.outside`.
        folder: New, or with an older surrogate.
    """
    (folder / GRAPH).parent.mkdir(parents=True, exist_ok=True)
    for old in (folder / GRAPH).parent.glob("*.onnx"):
        old.unlink()
    encoding = table.encoding
    accuracy, cost = parts["accuracy"], parts["cost"]
    assert cost.weights is not None
    heads = Heads(table.learned, accuracy.heads.bending, cost.heads.rising)
    graph = export.to_onnx(
        cost.scaler,
        {group: part.fitted for group, part in parts.items()},
        cost.weights if heads.rising.size > 1 else None,
        encoding.names,
        encoding.checksum,
    )
    (folder / GRAPH).write_bytes(graph)
    (folder / "encoding.json").write_text(encoding.to_json() + "\n", encoding="utf-8")
    _json(folder / "noise.json", noise.as_dict())
    _json(folder / "intervals.json", intervals.as_dict())
    _json(folder / "novelty.json", {**novelty.as_dict(), "proof": proof})
    curve = {"accuracy": heads.bending.name, "cost": heads.rising.name}
    _json(
        folder / "surrogate.json",
        {
            "version": VERSION,
            "encoding": encoding.checksum,
            "energy_scope": table.scope,
            "longest": int(table.epochs.max()),
            "runs": len(table.run_ids),
            "networks": len(np.unique(table.networks)),
            "targets": list(table.targets),
            "left_out": dict(table.left_out),
            "final_only": list(table.final_only),
            "models": {
                name: {
                    "family": parts[ALL[name].group].fitted.family,
                    "curve": curve[ALL[name].group] if ALL[name].kind == "curve" else "",
                }
                for name in table.learned
            },
            "misfit": {group: part.misfit for group, part in parts.items()},
            "operations": {group: part.operations for group, part in parts.items()},
            "heads": heads.as_dict(),
        },
    )


def _json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
