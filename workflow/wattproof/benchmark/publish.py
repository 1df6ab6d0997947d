"""Publish a benchmark: a folder that stands for itself, the same bytes for the same inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

import wattproof
from wattproof import space as spaces
from wattproof import tables
from wattproof.benchmark import card, manifest
from wattproof.benchmark.api import Benchmark
from wattproof.errors import WattproofError
from wattproof.space import Complexity, Space

SIDES = range(8, 257)
"""Image sizes that a campaign may have (schema of the campaign file)."""

TARGETS = {
    "accuracy": ("1", "validation accuracy after the epoch, 0 to 1", "maximise"),
    "energy_j": ("J", "energy of the {scope}, all epochs so far", "minimise"),
    "time_s": ("s", "duration of all epochs so far", "minimise"),
    "power_w": ("W", "mean power of the {scope}, all epochs so far", "minimise"),
}


def publish(
    dataset_path: Path,
    curves_path: Path,
    scores_path: Path,
    surrogate_dir: Path,
    space_name: str,
    campaign: str,
    simulated: bool,
    licence: str,
    out_dir: Path,
) -> None:
    """Write a benchmark folder and load it once, so that what is published can be queried.

    Args:
        dataset_path: Table ``dataset``.
        curves_path: Table ``curves``.
        scores_path: Table ``scores``.
        surrogate_dir: What `wattproof.surrogate.fit` stored.
        space_name: Search space of the campaign.
        campaign: Name of the campaign.
        simulated: Whether any energy comes from a virtual node.
        licence: Licence of the data.
        out_dir: New folder, or one with an older benchmark, which is replaced.

    Raises:
        WattproofError: The tables do not fit the space, the folder holds something else, or the
            tables say that they are simulated and `simulated` does not.
    """
    dataset = tables.read_frame(dataset_path, "dataset")
    curves = tables.read_frame(curves_path, "curves")
    scores = tables.read_frame(scores_path, "scores")
    meta = tables.read_meta(dataset_path)
    if meta.simulated and not simulated:
        raise WattproofError(
            f"{dataset_path} says that its energies are simulated; publish it as simulated."
        )
    space = spaces.get(space_name)
    shape = _input_shape(space, dataset)
    about = json.loads((surrogate_dir / "surrogate.json").read_text(encoding="utf-8"))
    _make_room(out_dir)
    (out_dir / "models").mkdir(parents=True, exist_ok=True)
    trees = [model["trees"] for model in about["models"].values() if model["trees"]]
    for name in ("encoding.json", "intervals.json", "surrogate.json", *trees):
        (out_dir / name).write_bytes((surrogate_dir / name).read_bytes())
    copies = {"dataset": dataset_path, "curves": curves_path, "scores": scores_path}
    for name, path in copies.items():
        (out_dir / f"{name}.parquet").write_bytes(Path(path).read_bytes())
    space.configspace().to_json(out_dir / "configspace.json")
    text = card.write(campaign, dataset, curves, scores, about, meta, simulated, licence)
    (out_dir / "CARD.md").write_text(text, encoding="utf-8")
    names = sorted([*manifest.REQUIRED, *trees])
    content = {
        "kind": manifest.KIND,
        "schema_version": manifest.SCHEMA_VERSION,
        "name": campaign,
        "space": space.name,
        "input": shape,
        "simulated": simulated,
        "created_by": f"wattproof {wattproof.__version__}",
        "licence": licence,
        "targets": _targets(about["energy_scope"]),
        "files": {name: manifest.sha256((out_dir / name).read_bytes()) for name in names},
    }
    (out_dir / manifest.FILE).write_bytes(manifest.render(content))
    bench = Benchmark(out_dir)
    bench.query(bench.sample(seed=0))


def _targets(scope: str) -> dict[str, dict[str, str]]:
    return {
        name: {"unit": unit, "meaning": meaning.format(scope=scope), "direction": direction}
        for name, (unit, meaning, direction) in TARGETS.items()
    }


def _make_room(out_dir: Path) -> None:
    """Remove an older benchmark, file by file; refuse to touch anything else."""
    if not out_dir.exists() or not any(out_dir.iterdir()):
        return
    if not (out_dir / manifest.FILE).exists():
        raise WattproofError(
            f"{out_dir} is not empty and holds no benchmark; give a new folder to publish to."
        )
    for path in (out_dir / manifest.FILE, *(out_dir / "models").glob("*.onnx")):
        path.unlink()


def _input_shape(space: Space, dataset: pd.DataFrame) -> dict[str, int]:
    """Find the image size and number of classes at which the networks have the costs measured.

    The surrogate reads those costs, so a query must compute them for the very same images; that
    they can be computed at all proves that the data set belongs to the space.

    Raises:
        WattproofError: No size fits all runs.
    """
    runs = _costs(dataset)
    if not runs:
        raise WattproofError("No run of the data set has known costs, so it cannot be published.")
    config, wanted = runs[0]
    base, one_more = (_complexity(space, config, SIDES[0], classes) for classes in (10, 11))
    classes = 10 + round((wanted.params - base.params) / (one_more.params - base.params))
    for side in SIDES:
        if classes >= 1 and all(_complexity(space, c, side, classes) == w for c, w in runs):
            return {"resolution": side, "classes": classes}
    raise WattproofError(
        f"The costs of the networks in the data set (macs, params, activations) are not those of "
        f"space '{space.name}' at any image size; give the space that the campaign used."
    )


def _costs(dataset: pd.DataFrame) -> list[tuple[dict[str, Any], Complexity]]:
    known = dataset.dropna(subset=["macs", "params", "activations"])
    known = known[known["status"] == "ok"]
    found = []
    for row in known.to_dict("records"):
        config = {
            str(key).removeprefix("config_"): value
            for key, value in row.items()
            if str(key).startswith("config_")
        }
        costs = Complexity(int(row["macs"]), int(row["params"]), int(row["activations"]))
        found.append((config, costs))
    return found


def _complexity(
    space: Space, config: Mapping[str, Any], resolution: int, classes: int
) -> Complexity:
    return space.realise(config, resolution=resolution, classes=classes).complexity()
