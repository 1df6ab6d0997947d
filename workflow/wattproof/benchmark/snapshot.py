"""The campaign as it is published: recipe and instruments, without the machine's own affairs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

KEPT = (
    *("campaign", "node", "space", "plan", "training", "calibration", "sources"),
    *("on_missing_source", "analysis", "dataset", "surrogate"),
)
"""What a run depends on. Folders of results, the cluster's accounts, and merged sites stay out."""

PRIVATE = {
    "training": ("data_dir", "cache_dir"),
    "analysis": ("sensors", "calibration"),
    "plan": ("pilot", "part"),
    "meter": ("port", "folder", "user", "password_env"),
}
"""Files, hosts, ports and users: they mean nothing elsewhere, and nobody else's business."""

AUTO = "auto"
ALL = "all"


def take(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is published of a campaign's configuration.

    Args:
        config: A complete campaign; None for a data set that was not made by one.

    Returns:
        Its part `KEPT`, and under ``withheld`` the keys that had a value and were emptied. Without
        key ``node`` there is no recipe to train by.
    """
    if config is None:
        return {"withheld": []}
    if "withheld" in config:  # taken already
        return copy.deepcopy(dict(config))
    found = {key: copy.deepcopy(config[key]) for key in KEPT if key in config}
    withheld: list[str] = []

    def empty(part: dict[str, Any], key: str, name: str, value: Any = None) -> None:
        if part.get(key) not in (None, value):
            part[key] = value
            withheld.append(name)

    for group in ("training", "analysis", "plan"):
        for key in PRIVATE[group]:
            empty(found.get(group) or {}, key, f"{group}.{key}")
    for index, group in enumerate((found.get("plan") or {}).get("groups") or []):
        empty(group, "pilot", f"plan.groups[{index}].pilot")
    sources = found.get("sources") or {}
    meter = sources.get("meter") or {}
    for key in PRIVATE["meter"]:
        empty(meter, key, f"sources.meter.{key}", AUTO if key == "port" else None)
    nvml = sources.get("nvml") or {}
    if isinstance(nvml.get("gpus"), list):
        empty(nvml, "gpus", "sources.nvml.gpus", ALL)
    return {**found, "withheld": sorted(withheld)}


def shorten(config: Mapping[str, Any] | None) -> int:
    """Return how many times fewer epochs were trained than a configuration says."""
    return int(((config or {}).get("training") or {}).get("shorten", 1))


def of_dataset(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of `wattproof.dataset.build`, as rule dataset gives them."""
    learning = config.get("surrogate") or {}
    settings = {key: learning[key] for key in ("folds", "seed") if key in learning}
    gate = (config.get("dataset") or {}).get("gate")
    return settings | ({} if gate is None else {"gate": gate})
