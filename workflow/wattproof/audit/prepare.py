"""From a manifest to what the workflow needs: a complete configuration and the sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattproof import config, ingest
from wattproof import space as spaces
from wattproof.config import Config
from wattproof.errors import WattproofError
from wattproof.ingest import manifest
from wattproof.ingest.manifest import Manifest

ANALYSIS = {"max_gap_s": 10.0, "min_samples": 5}
"""Where a manifest is silent: foreign logs are slower than ours (MLPerf's by 2 s and more)."""


@dataclass(frozen=True)
class Audit:
    """A manifest, and the configuration that the rules read.

    Attributes:
        manifest: The manifest, checked.
        config: As of a campaign: name, results, analysis.
        sets: Names of the sets; each is a folder ``recordings/{set}`` of tables.
    """

    manifest: Manifest
    config: Config
    sets: tuple[str, ...]


def prepare(document: dict[str, Any], path: str | Path, schema: dict[str, Any]) -> Audit:
    """Check a manifest and fill in what a campaign's configuration has.

    Args:
        document: Keys and values of the manifest.
        path: Its file.
        schema: JSON schema of campaigns, for ``analysis``.

    Raises:
        WattproofError: One sentence with file, key and remedy.
    """
    found = manifest.parse(document, Path(path))
    for chosen in found.sets.values():
        for form, _ in chosen.logs:
            ingest.reader(form, f"{path}, set '{chosen.name}'")
    campaign = {
        "campaign": found.name,
        "results": found.results,
        "analysis": {**ANALYSIS, **found.analysis},
    }
    made = found.benchmark
    if made is not None:
        campaign |= _of_benchmark(made, str(path))
        if found.licence:
            campaign["benchmark"] = {"licence": found.licence}
    return Audit(found, config.validate(campaign, schema, str(path)), tuple(found.sets))


def _of_benchmark(made: dict[str, Any], file: str) -> dict[str, Any]:
    """Keys of a campaign that a manifest's ``benchmark`` says."""
    try:
        space = spaces.get(made["space"])
    except WattproofError as error:
        raise WattproofError(f"{file}: benchmark.space: {error}") from error
    surrogate = dict(made["surrogate"])
    if space.costs:  # many values of these build the same network: models read its costs instead
        surrogate.setdefault("opaque", sorted(getattr(space, "architecture", ())))
    return {"space": space.name, "surrogate": surrogate}
