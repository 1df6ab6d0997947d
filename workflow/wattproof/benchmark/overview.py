"""What `wattproof benchmark info` and `verify` say of a benchmark, without loading its models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wattproof.benchmark import manifest
from wattproof.benchmark.results import BANNER
from wattproof.errors import WattproofError

SCORED = ("accuracy", "energy_j", "time_s", "power_w")


def verify(path: Path, digest: str | None = None) -> str:
    """Check every byte of a benchmark against its manifest.

    Args:
        path: Folder or archive.
        digest: What its publisher says that the manifest's digest is; None to check only that
            manifest and files fit each other, which a forger can arrange.

    Returns:
        One sentence.

    Raises:
        WattproofError: A byte was changed, or it is another benchmark than the digest's.
    """
    about, files = manifest.read(path)
    if digest is not None and digest.strip().lower() != about["digest"]:
        raise WattproofError(
            f"{path} is not the benchmark with that digest: its own is {about['digest']}; fetch it "
            "again from where it was published."
        )
    size = sum(map(len, files.values()))
    told = "the digest given" if digest is not None else f"digest {about['digest']}"
    return (
        f"{path}: benchmark '{about['name']}', {len(files)} files, {_bytes(size)}, all as they "
        f"were published ({told})."
    )


def describe(path: Path) -> dict[str, Any]:
    """Return manifest and card of a benchmark as plain JSON, every byte checked."""
    about, files = manifest.read(path)
    return {"manifest": about, "card": json.loads(files["card.json"])}


def text(found: Mapping[str, Any]) -> str:
    """Return what `describe` found as lines for people."""
    about, card = found["manifest"], found["card"]
    size = sum(file["bytes"] for file in about["files"].values())
    lines = [BANNER] if about["simulated"] else []
    lines += [
        f"benchmark '{about['name']}' of search space {about['space']}, schema "
        f"{about['schema_version']}, by {about['created_by']}",
        f"energy of {card['energy']['scope_in_words']}; {len(about['files'])} files, "
        f"{_bytes(size)}",
        "",
        *(f"  {sentence}" for sentence in card["data_in_words"]),
        f"  {_cost(card['cost'])}",
        "",
        *_scores(card["surrogate"]),
        "Limits:",
        *(f"  - {limit}" for limit in card["limits"]),
        "",
        f"licence   {about['licence']}",
        f"citation  {card['citation']}",
        f"digest    {about['digest']}",
    ]
    return "\n".join(lines)


def _scores(surrogate: Mapping[str, Any]) -> list[str]:
    """Scores of the published models on networks that they have not seen."""
    lines = ["On networks that the models have not seen:"]
    for row in surrogate["scores"]:
        target = row["target"]
        if target not in SCORED:
            continue
        parts = [
            f"{word} {row[key]:{form}}"
            for key, word, form in (
                ("kendall_tau", "Kendall τ", ".3f"),
                ("mape", "error", ".1%"),
                ("coverage", "interval covers", ".1%"),
            )
            if row.get(key) is not None and not (key == "mape" and target == "accuracy")
        ]
        lines.append(f"  {target:9} {', '.join(parts) or row.get('refused') or 'no score'}")
    return [*lines, ""] if len(lines) > 1 else []


def _cost(cost: Mapping[str, Any]) -> str:
    known = [
        f"{cost[f'{scope}_kwh']:.4g} kWh of {words}"
        for scope, words in (("node", "the node"), ("gpu", "the GPUs alone"))
        if cost[f"{scope}_kwh"] is not None
    ]
    return f"Making it cost {' or '.join(known) or 'energies that are unknown'}, all runs together."


def _bytes(number: int) -> str:
    return f"{number / 2**20:.1f} MiB" if number >= 2**20 else f"{number / 2**10:.1f} KiB"
