"""The kinds of a benchmark: answers by its models, by its measured runs, or by training here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wattproof.benchmark.domain import Domain
from wattproof.benchmark.sources import Source, Surrogate
from wattproof.errors import WattproofError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("surrogate", "table", "live")


def source(
    kind: Any,
    surrogate: Surrogate,
    energy: str,
    domain: Domain,
    files: Mapping[str, bytes],
    frame: Callable[[str], pd.DataFrame],
    folder: Any = None,
    settings: Mapping[str, Any] | None = None,
) -> Source:
    """Return what answers in a benchmark of a kind.

    Args:
        kind: One of `KINDS`.
        surrogate: The published models; the other kinds answer the same targets.
        energy: Target of the energy that is asked for.
        domain: Parameters of the space.
        files: Contents of the benchmark's files.
        frame: Reads a table of it.
        folder: Where kind ``live`` trains.
        settings: Keys of the campaign that are other ones here, for kind ``live``.

    Raises:
        WattproofError: There is no such kind, or it cannot be had of this benchmark.
    """
    if kind not in KINDS:
        raise WattproofError(
            f"kind={kind!r} is no kind of benchmark.{did_you_mean(str(kind), KINDS)}"
        )
    if kind != "live" and (folder is not None or settings is not None):
        what = "folder" if folder is not None else "settings"
        raise WattproofError(f"{what} is for kind='live', which trains; kind='{kind}' does not.")
    targets, scope = surrogate.predictor.targets, surrogate.predictor.energy_scope
    if kind == "table":
        from wattproof.benchmark.table import Table

        return Table(domain, frame("dataset"), frame("curves"), targets, scope, energy)
    if kind == "live":
        from wattproof.benchmark.live import Live

        campaign = json.loads(files["campaign.json"])
        where = None if folder is None else Path(folder)
        return Live(domain, campaign, targets, scope, energy, where, settings)
    return surrogate
