"""With what to measure: the sources of a campaign file, or what any machine may have."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wattproof import config
from wattproof.errors import WattproofError, did_you_mean
from wattproof.sources import meters
from wattproof.sources import names as instruments

SCHEMA = Path(__file__).resolve().parents[3] / "config" / "schema" / "campaign.schema.json"
DEFAULT_SOURCES = ("nvml", "rapl", "host")
"""What `record` and `doctor` look for by themselves: whatever costs next to nothing."""
UNLIKE_CAMPAIGNS = {"smi": {"mode": "loop"}}
"""A campaign may want to show what a process per sample does; who measures wants the better way."""
KEYS = ("sources", "on_missing_source", "analysis")
"""Keys of a campaign file that are used; the others are checked and left alone."""


@dataclass(frozen=True, slots=True)
class Settings:
    """With what to measure, and how to analyse it.

    Attributes:
        sources: Settings by source.
        on_missing: ``stop`` or ``continue`` if a source does not start.
        analysis: Settings of analysis.
        file: Campaign file; None if there was none.
    """

    sources: dict[str, dict[str, Any]]
    on_missing: str = "continue"
    analysis: dict[str, Any] = field(default_factory=dict)
    file: str | None = None


def read(file: str | Path | None, only: Sequence[str] = ()) -> Settings:
    """Read the settings of a campaign file, or take what any machine may have.

    Args:
        file: Campaign file; it may hold the key ``sources`` alone.
        only: Names of the sources to use; empty: all of the file, or the usual ones.

    Raises:
        WattproofError: One sentence with file, key and remedy, for the first mistake.
    """
    for name in only:
        if name not in instruments():
            raise WattproofError(
                f"There is no instrument '{name}'.{did_you_mean(name, instruments())}"
            )
    if file is None:
        wanted = tuple(only) or usual()
        if "meter" in wanted:
            raise WattproofError(
                "Source 'meter' needs to know your meter: name a campaign file with --config that "
                "has the key 'sources.meter', e.g. {driver: lmg450, port: /dev/ttyUSB0}."
            )
        chosen = {name: dict(UNLIKE_CAMPAIGNS.get(name, {})) for name in wanted}
        complete = _validate({"sources": chosen}, "the command line")
        return Settings(complete["sources"], "continue", complete["analysis"])
    name = str(file)
    raw = config.read_yaml(file)
    complete = _validate(raw, name)
    if "sources" not in raw and not only:
        raise WattproofError(
            f"{name}: key 'sources' is missing; add it, or leave --config away to measure with "
            "whatever is here."
        )
    sources: dict[str, dict[str, Any]] = complete["sources"]
    absent = [source for source in only if source not in sources]
    if absent and absent[0] == "meter":
        raise WattproofError(f"{name}: key 'sources.meter' is missing; add it.")
    more = _validate({"sources": {source: {} for source in absent}}, name) if absent else None
    if more is not None:
        sources = {**sources, **more["sources"]}
    if only:
        sources = {source: sources[source] for source in only}
    if "meter" in sources:
        meter = meters.complete(sources["meter"], name, simulated=False)
        sources = {**sources, "meter": meter}
    return Settings(sources, complete["on_missing_source"], complete["analysis"], name)


def usual() -> tuple[str, ...]:
    """Return the usual sources; nvidia-smi only where NVML's Python module is not installed."""
    if importlib.util.find_spec("pynvml") is None and shutil.which("nvidia-smi"):
        return ("smi", *(name for name in DEFAULT_SOURCES if name != "nvml"))
    return DEFAULT_SOURCES


def _validate(raw: config.Config, file: str) -> config.Config:
    schema = {**config.load_schema(SCHEMA), "required": []} if SCHEMA.exists() else None
    if schema is None:  # installed without the repository: the sources know their own defaults
        return {"on_missing_source": "continue", "analysis": {}, **raw}
    return config.validate(raw, schema, file)
