"""Publish a benchmark: a folder and an archive, each whole in itself.

Same inputs and same versions, same bytes.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

import wattproof
from wattproof import space as spaces
from wattproof import tables
from wattproof.benchmark import archive, card, contents, facts, manifest, snapshot
from wattproof.benchmark.api import Benchmark
from wattproof.errors import WattproofError
from wattproof.space import Complexity, Space
from wattproof.surrogate.targets import ALL, CORE

SIDES = range(8, 257)
"""Image sizes that a campaign may have (schema of the campaign file)."""

VERSIONS = ("numpy", "pandas", "pyarrow", "onnx", "onnxruntime", "lightgbm", "scikit-learn")
"""Packages whose versions decide the bytes of a benchmark."""


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
    archive_path: Path | None = None,
    config: Mapping[str, Any] | None = None,
    coverage_path: Path | None = None,
    growth_path: Path | None = None,
    authors: Sequence[str] = (),
    citation: str | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write a benchmark and load it once, so that what is published can be queried.

    Args:
        dataset_path: Table ``dataset``.
        curves_path: Table ``curves``.
        scores_path: Table ``scores``.
        surrogate_dir: What `wattproof.surrogate.fit` stored; all of it is published.
        space_name: Search space of the campaign.
        campaign: Name of the campaign.
        simulated: Whether any energy comes from a virtual node.
        licence: Licence of the data.
        out_dir: New folder, or one with an older benchmark, which is replaced.
        archive_path: Gets the same as one file (``.wattproof.zip``); None for no archive.
        config: The complete campaign; None for a data set that was not made by one.
        coverage_path: Table ``coverage``, if there is one.
        growth_path: Table ``growth``, if there is one.
        authors: Who made it.
        citation: How to cite it; None for a sentence made of name, authors and licence.
        notes: Of results that others published: what its energies are, and what an audit found.

    Raises:
        WattproofError: The tables do not fit the space, the folder holds something else, or the
            tables say that they are simulated and `simulated` does not.
    """
    dataset = tables.read_frame(dataset_path, "dataset")
    meta = tables.read_meta(dataset_path)
    if meta.simulated and not simulated:
        raise WattproofError(
            f"{dataset_path} says that its energies are simulated; publish it as simulated."
        )
    space = spaces.get(space_name)
    shape = _input_shape(space, dataset)
    paths = {"scores": scores_path, "coverage": coverage_path, "growth": growth_path}
    more = {name: Path(path) for name, path in paths.items() if path is not None}
    files = _surrogate_files(surrogate_dir)
    product = facts.Product(
        name=campaign,
        space=space.name,
        dataset=dataset,
        curves=tables.read_frame(curves_path, "curves"),
        more={name: tables.read_frame(path, name) for name, path in more.items()},
        about=json.loads(files["surrogate.json"]),
        meta=meta,
        simulated=simulated,
        campaign=snapshot.take(config),
        licence=licence,
        authors=tuple(authors),
        citation=citation or "",
        notes=tuple(notes),
        made_by=_versions(),
        proof=json.loads(files["novelty.json"]).get("proof") or {},
    )
    card_facts = facts.gather(product)
    targets = _targets(product.about)
    files |= {
        "campaign.json": _json(product.campaign),
        "card.json": _json(card_facts),
        "CARD.md": card.write(card_facts, targets).encode(),
        "configspace.json": _json(space.configspace().to_serialized_dict()),
    }
    for name, path in {"dataset": dataset_path, "curves": curves_path, **more}.items():
        files[f"{name}.parquet"] = _with_card(path, name, card_facts)
    content = {
        "kind": manifest.KIND,
        "schema_version": manifest.SCHEMA_VERSION,
        "name": campaign,
        "space": space.name,
        "input": shape,
        "shorten": snapshot.shorten(config),
        "simulated": simulated,
        "created_by": f"wattproof {wattproof.__version__}",
        "versions": product.made_by,
        "licence": licence,
        "targets": targets,
        "files": {name: manifest.entry(files[name]) for name in sorted(files)},
    }
    files[manifest.FILE] = manifest.render(content)
    _write_folder(files, out_dir)
    bench = Benchmark(out_dir)
    bench.query(bench.sample(seed=0))
    if archive_path is not None:
        _replace(archive_path, archive.pack(files))
        manifest.read(archive_path)


def _surrogate_files(folder: Path) -> dict[str, bytes]:
    """Return what the fit left, whatever it consists of, in formats that hold no programme."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") for part in name.parts):
            continue
        if path.suffix not in manifest.FORMATS:
            raise WattproofError(
                f"{path} is none of the formats that are published "
                f"({', '.join(manifest.FORMATS)}); remove it from the surrogate's folder."
            )
        found[name.as_posix()] = path.read_bytes()
    return found


def _with_card(path: Path, name: str, card_facts: Mapping[str, Any]) -> bytes:
    """Return a table whose file says by itself what it is and how it may be used."""
    table = tables.read(path, name)
    about = {
        b"licence": card_facts["licence"].encode(),
        b"citation": card_facts["citation"].encode(),
        b"card": json.dumps(card_facts, sort_keys=True).encode(),
    }
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **about})
    buffer = BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _versions() -> dict[str, str]:
    found = {"wattproof": wattproof.__version__, "python": platform.python_version()}
    for package in VERSIONS:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _write_folder(files: Mapping[str, bytes], out_dir: Path) -> None:
    _make_room(out_dir)
    for name in sorted(files, key=lambda name: (name == manifest.FILE, name)):  # manifest last
        path = out_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name])


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)


def _targets(about: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {
        name: {
            "unit": ALL[name].unit,
            "meaning": ALL[name].meaning.format(scope=about["energy_scope"]),
            "direction": ALL[name].direction,
        }
        for name in ALL
        if name in about["targets"] or name in CORE
    }


def _make_room(out_dir: Path) -> None:
    """Remove an older benchmark, file by file; refuse to touch anything else."""
    if not out_dir.exists() or not any(out_dir.iterdir()):
        return
    old = out_dir / manifest.FILE
    try:
        listed = json.loads(old.read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WattproofError(
            f"{out_dir} is not empty and holds no benchmark; give a new folder to publish to."
        ) from error
    old.unlink()
    for name in listed:
        if contents.is_safe(name):
            (out_dir / name).unlink(missing_ok=True)


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
