"""What a benchmark says of itself, as data: ``card.json``, from which the card is written.

Every figure is counted from the tables that are published; nothing is asked of the machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from wattproof import tables
from wattproof.dataset import METER, Facts, included
from wattproof.dataset import facts as about_data
from wattproof.surrogate.targets import CORE
from wattproof.units import J_PER_KWH, S_PER_H

CARD_VERSION = 1
"""Raised when a key of ``card.json`` changes its meaning."""

SCOPES = {"node": "the whole node", "gpu": "the GPU alone"}

PROVENANCE = {
    "gpu_energy_j": "the run's own GPUs by NVML: its energy counter, else the integral of power",
    "smi_energy_j": "the same GPUs by nvidia-smi, with whatever is wrong with it: to be compared, "
    "not to be used",
    "inference_j_per_image": "node energy of the inference phase, told as that of the training",
}
"""Who tells the energies that are told by the same instrument in every campaign."""


@dataclass(frozen=True)
class Product:
    """All that is published, in memory.

    Attributes:
        name: Name of the campaign.
        space: Name of its search space.
        dataset: Table ``dataset``.
        curves: Table ``curves``.
        more: Tables ``scores``, ``coverage`` and ``growth``, those that there are.
        about: Content of ``surrogate.json``.
        meta: Provenance of the data set.
        simulated: Whether any energy comes from a virtual node.
        campaign: Content of ``campaign.json``.
        licence: Licence of the data.
        authors: Who made it.
        citation: How to cite it; empty for a sentence made of the rest.
        made_by: Versions of what made it.
        proof: How well novelty tells what was not trained (``novelty.json``).
        notes: Of results that others published: what its energies are, and what an audit found.
    """

    name: str
    space: str
    dataset: pd.DataFrame
    curves: pd.DataFrame
    more: Mapping[str, pd.DataFrame]
    about: Mapping[str, Any]
    meta: tables.Meta
    simulated: bool
    campaign: Mapping[str, Any]
    licence: str
    authors: tuple[str, ...] = ()
    citation: str = ""
    made_by: Mapping[str, str] = field(default_factory=dict)
    proof: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def gather(product: Product) -> dict[str, Any]:
    """Return the content of ``card.json``: plain JSON, the same for the same tables."""
    data = about_data(product.dataset, product.curves)
    good = product.dataset[included(product.dataset)]
    found = {
        "card_version": CARD_VERSION,
        "name": product.name,
        "simulated": product.simulated,
        "licence": product.licence,
        "authors": list(product.authors),
        "citation": citation(product),
        "trained": _trained(product),
        "data": data.as_dict(),
        "data_in_words": data.sentences(),
        "instruments": product.meta.instruments,
        "host": product.meta.host,
        "energy": _energy(product, good, data),
        "cost": cost(product.dataset),
        "surrogate": _surrogate(product),
        "limits": limits(product, data),
        "made_by": {**product.made_by, "commands": _commands(product)},
    }
    plain: dict[str, Any] = json.loads(json.dumps(found, default=_plain))
    return plain


def citation(product: Product) -> str:
    """Return how to cite the benchmark."""
    if product.citation:
        return product.citation
    who = ", ".join(product.authors) + ". " if product.authors else ""
    kind = "simulated " if product.simulated else ""
    maker = product.made_by.get("wattproof", "")
    return (
        f"{who}{product.name}: a {kind}benchmark of accuracy, energy and time of "
        f"{product.space}. Made with wattproof {maker}. Licence {product.licence}."
    )


def _trained(product: Product) -> dict[str, Any]:
    training = product.campaign.get("training") or {}
    keys = ("dataset", "image_size", "train_images", "shorten", "precision", "inference")
    return {"space": product.space, **{key: training[key] for key in keys if key in training}}


def _energy(product: Product, good: pd.DataFrame, data: Facts) -> dict[str, Any]:
    scope = product.about["energy_scope"]
    column = f"{scope}_energy_j"
    sums = product.curves.groupby("run_id")[column].sum(min_count=1)
    outside = 1 - good["run_id"].map(sums) / good[column]
    return {
        "unit": "J",
        "scope": scope,
        "scope_in_words": SCOPES[scope],
        "provenance": {
            "energy_j": _told_by(data) if scope == "node" else PROVENANCE["gpu_energy_j"],
            **{k: v for k, v in PROVENANCE.items() if k in product.about["targets"]},
        },
        "share_outside_epochs": float(outside.median()) if outside.notna().any() else None,
    }


def _told_by(data: Facts) -> str:
    counts = ", ".join(f"{by or 'nobody'} ({n} runs)" for by, n in data.node_energy_by.items())
    return f"the node by {counts}"


def cost(dataset: pd.DataFrame) -> dict[str, Any]:
    """Add up what making the data cost: all runs, also those that failed or were left out.

    Returns:
        ``node_kwh`` and ``gpu_kwh`` of the runs whose energy is known, and how many those are;
        ``hours`` of all runs whose length is known.
    """
    found: dict[str, Any] = {"runs": len(dataset)}
    for scope in ("node", "gpu"):
        known = dataset[f"{scope}_energy_j"].dropna().astype(float)
        found[f"{scope}_kwh"] = float(known.sum()) / J_PER_KWH if len(known) else None
        found[f"{scope}_runs"] = len(known)
    found["hours"] = float(dataset["time_s"].dropna().astype(float).sum()) / S_PER_H
    return found


def _surrogate(product: Product) -> dict[str, Any]:
    """What the card tells of the models; all of it is in the tables beside it."""
    chosen = families(product.about)
    found: dict[str, Any] = {
        "families": chosen,
        **{key: product.about[key] for key in ("runs", "networks") if key in product.about},
    }
    more = {name: records(frame) for name, frame in product.more.items()}
    found["scores"] = [row for row in more["scores"] if _is_published(row, chosen)]
    found["coverage"] = [row for row in more.get("coverage", []) if row["stratum"] == "all"]
    found["growth"] = _growth(product.more.get("growth"))
    found["out_of_domain"] = {k: v for k, v in product.proof.items() if k != "regions"}
    return found


def _is_published(row: Mapping[str, Any], chosen: Mapping[str, str]) -> bool:
    """Whether a row of table ``scores`` is about a model that is in the benchmark."""
    if row.get("chosen") is not None:
        return bool(row["chosen"])
    target = "energy_j" if row["target"] == "power_w" else row["target"]
    return chosen.get(target) == row["model"]


def _growth(growth: pd.DataFrame | None) -> dict[str, Any]:
    """By target: mean rank agreement by the number of networks, and what more would bring."""
    found: dict[str, Any] = {}
    if growth is None or not len(growth):
        return found
    measured = growth[growth["kind"] == "measured"]
    for target, rows in measured[measured["target"].isin(CORE)].groupby("target", sort=False):
        tau = rows.groupby("networks")["kendall_tau"].mean()
        found[str(target)] = {
            "kendall_tau": {
                str(n): None if pd.isna(value) else float(value) for n, value in tau.items()
            },
            "more_runs": "",
        }
    for row in records(growth[growth["kind"] == "expected"]):
        if row["target"] in found:
            found[row["target"]]["more_runs"] = row["words"] or ""
    return found


def families(about: Mapping[str, Any]) -> dict[str, str]:
    """Return the model family of each target that was fitted."""
    return {str(target): str(model["family"]) for target, model in about["models"].items()}


def limits(product: Product, data: Facts) -> list[str]:
    """Return what a user should know before trusting the figures, one sentence each."""
    found = []
    if product.simulated:
        found.append(
            "Energies and power come from a virtual node: they show what the method can do and "
            "say nothing about real hardware."
        )
        if (product.campaign.get("node") or {}).get("mode") == "offline":
            found.append(
                "Nothing was trained: accuracies come from a documented seeded model of learning."
            )
    by = data.node_energy_by
    estimated = {name: n for name, n in by.items() if name not in (METER, "")}
    if estimated:
        names = ", ".join(f"{name} ({n})" for name, n in estimated.items())
        found.append(f"Node energy of some runs is no meter reading but an estimate: {names}.")
    if "" in by:
        found.append(f"The node energy of {by['']} run(s) is unknown.")
    shorten = (product.campaign.get("training") or {}).get("shorten", 1)
    if shorten != 1:
        found.append(
            f"Trainings were shortened: of a configuration's epochs 1 in {shorten} was trained, "
            "spread over its schedule. Epochs of a query are trained ones."
        )
    found.append(
        "It is one node with its instruments and its software: on another the same configuration "
        "costs another energy."
    )
    found += product.notes or (
        "Start-up, the final test and inference are not in the energy and time of a query; nor "
        "are idle nodes, cooling or the making of the hardware in anything here.",
    )
    found.append(
        "Intervals hold for configurations like the trained ones; `in_domain` says where not."
    )
    for target, why in (product.about.get("left_out") or {}).items():
        found.append(f"There is no surrogate of {target}: {why}.")
    withheld = product.campaign.get("withheld") or []
    if withheld:
        found.append(f"Keys of the campaign that are not published: {', '.join(withheld)}.")
    return found


def _commands(product: Product) -> list[str]:
    if "node" not in product.campaign:
        return ["wattproof audit MANIFEST.yaml"]
    return [
        "snakemake --configfile CAMPAIGN.yaml    # campaign.json holds its keys",
        f"wattproof benchmark verify {product.name}.wattproof.zip",
    ]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as JSON values; unknown is null."""
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return rows


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)
