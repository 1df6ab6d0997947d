"""A whole set: what windows, rows and recordings say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof import tables
from wattproof.quality import grid, pairs, rows
from wattproof.quality.finding import Finding, finding
from wattproof.quality.flags import FLAGS, SEVERITIES
from wattproof.quality.series import Channel
from wattproof.quality.windows import device_limits
from wattproof.units import NS_PER_S

Array = NDArray[np.float64]

Levels = Callable[[str], list[Channel]]
"""Channels of a recording, for the rare case that two recordings have to be compared."""


def _flagged(energy: pd.DataFrame) -> Iterator[Finding]:
    """One finding for each flag of each channel, over epochs, runs and loads of the set."""
    counts: Counter[tuple[str, str, str]] = Counter()
    where: dict[tuple[str, str, str], set[str]] = {}
    # Phases are parts of epochs: what is short by nature is told once, of the epoch.
    energy = energy[energy["level"] != "phase"]
    total = energy.groupby(["source", "channel"]).size()
    keys = zip(
        energy["recording"], energy["source"], energy["channel"], energy["flags"], strict=True
    )
    for recording, source, channel, names in keys:
        for name in names:
            key = (str(source), str(channel), str(name))
            counts[key] += 1
            where.setdefault(key, set()).add(str(recording))
    for (source, channel, name), n in counts.items():
        known = FLAGS.get(name)
        if known is None:
            continue
        of = int(total[source, channel])
        recordings = where[source, channel, name]
        # A few windows of many are no reason to distrust the channel.
        severity = known.severity
        if severity == "error" and n < 0.05 * of:
            severity = "warning"
        yield finding(
            next(iter(recordings)) if len(recordings) == 1 else "",
            name,
            f"{n} of {of} windows of {channel} ({source}): {known.sentence}",
            severity=severity,
            source=source,
            channel=channel,
            affected=n,
            of=of,
            value=100 * n / of,
            unit="%",
        )


def _limits(channels: pd.DataFrame) -> Iterator[Finding]:
    for device, limit in device_limits(channels).items():
        if limit is None:
            yield finding(
                "",
                "limits_changed",
                f"The power limit of {device} is not the same in all sessions.",
            )


def _swapped(
    channels: pd.DataFrame, known: pd.DataFrame, levels: Levels | None
) -> Iterator[Finding]:
    """Recordings of two nodes whose meters are exchanged.

    Only recordings whose meter was found to follow nothing of its own are looked at.
    """
    doubtful = sorted(
        known.loc[known["flag"].isin(["meter_elsewhere", "clock_not_proven"]), "recording"].unique()
    )
    if levels is None or len(doubtful) < 2:
        return
    grids = {}
    for name in doubtful:
        listed = levels(str(name))
        binned = grid.grid(listed, grid.BIN_S)
        grids[name] = _Node(
            _metered(listed, binned), pairs.inside_w(listed, binned), binned.start_ns
        )
    for i, one in enumerate(doubtful):
        for two in doubtful[i + 1 :]:
            crossed = [_crossed(grids[a], grids[b]) for a, b in ((one, two), (two, one))]
            if min(crossed) > pairs.PRESENT_R:
                yield finding(
                    "",
                    "streams_swapped",
                    f"The meter of {one} follows the sensors of {two} (r = {crossed[0]:.2f}), and "
                    f"that of {two} those of {one} ({crossed[1]:.2f}).",
                )


@dataclass(frozen=True, slots=True)
class _Node:
    """What is compared of a recording: its meter, its own sensors, when its bins begin."""

    metered: Array | None
    inside: Array | None
    start_ns: int


def _metered(listed: list[Channel], binned: grid.Grid) -> Array | None:
    """Levels of the first meter of the node."""
    own = [c for c in listed if c.name.startswith("node.") and c.kind == "power"]
    return binned.level.get((own[0].source, own[0].name)) if own else None


def _crossed(metered: _Node, node: _Node) -> float:
    """Correlation of one recording's meter with the other's own sensors, by the wall clock."""
    level, inside = metered.metered, node.inside
    if level is None or inside is None:
        return -1.0
    shift = round((metered.start_ns - node.start_ns) / NS_PER_S / grid.BIN_S)
    a, b = max(shift, 0), max(-shift, 0)
    n = min(len(inside) - a, len(level) - b)
    if n < grid.MIN_BINS:
        return -1.0
    r, _ = grid.follows(inside[a : a + n], level[b : b + n])
    return r if np.isfinite(r) else -1.0


def survey(
    energy: pd.DataFrame,
    channels: pd.DataFrame,
    reported: pd.DataFrame,
    known: Iterable[pd.DataFrame],
    levels: Levels | None = None,
) -> pd.DataFrame:
    """Say what is wrong with a whole set, worst first.

    Args:
        energy: Table ``energy`` of all recordings, with the flags of its windows.
        channels: Table ``channels`` of all recordings.
        reported: Table ``reported`` of all sets.
        known: Tables ``findings`` of recordings and readers.
        levels: Gives the channels of a recording (`wattproof.quality.inspection.channels_of`).

    Returns:
        Table ``findings``: those that are known, and those of the set.
    """
    parts = [part for part in known if len(part)]
    before = pd.concat(parts, ignore_index=True) if parts else tables.empty("findings")
    found: list[Finding] = [
        *_flagged(energy),
        *_limits(channels),
        *_swapped(channels, before, levels),
    ]
    for _, part in reported.groupby("recording"):
        for check in rows.CHECKS:
            found += check(part)
    every = [before, pd.DataFrame(found)] if found else [before]
    joined = pd.concat([part for part in every if len(part)] or [before], ignore_index=True)
    # A clock that was refused is told once, with its reason, and not again by its windows.
    refused = joined["flag"] == "clock_not_proven"
    first = joined.loc[refused & (joined["channel"] == ""), "source"]
    again = refused & (joined["channel"] != "") & joined["source"].isin(set(first))
    joined = joined[~again]
    rank = joined["severity"].map({name: i for i, name in enumerate(SEVERITIES)})
    joined = joined.assign(rank=rank).sort_values(
        ["rank", "flag", "recording", "source", "channel"], kind="stable"
    )
    return joined.drop(columns="rank").reset_index(drop=True)
