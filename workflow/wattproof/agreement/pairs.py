"""Foreign sets: channels that tell of the same thing, compared by window, row and sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from wattproof import tables
from wattproof.agreement.compare import compare, seeded
from wattproof.quality import channels_of
from wattproof.quality.grid import grid

FLAGGED = frozenset({"clock_not_proven"})

MIN_BIN_S = 0.1

PREFERRED = (
    "node.ac",
    "node.dc",
    "energy",
    "power_instant",
    "power_samples",
    "power",
    "power_average",
)
"""What is taken as the reference of a device where the manifest says none, best first."""


def _rank(channel: str) -> int:
    names = (channel, channel.partition(".")[2])
    return next((i for i, word in enumerate(PREFERRED) if word in names), len(PREFERRED))


def _references(
    keys: list[tuple[str, str]], wanted: Mapping[str, str] | None
) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Pairs (what is compared, its reference), each a source and a channel."""
    if wanted is not None:
        chosen = [
            key
            for key in keys
            if key[1] == wanted["channel"] and wanted.get("source", key[0]) == key[0]
        ]
        for reference in chosen[:1]:
            yield from ((key, reference) for key in keys if key != reference)
        return
    devices: dict[str, list[tuple[str, str]]] = {}
    for key in keys:
        if key[1].count(".") == 1:  # channels of a multi-channel meter are parts of its total
            devices.setdefault(key[1].partition(".")[0], []).append(key)
    for group in devices.values():
        ordered = sorted(group, key=lambda key: (_rank(key[1]), key))
        yield from ((key, ordered[0]) for key in ordered[1:])


def _row(
    name: str,
    level: str,
    quantity: str,
    key: tuple[str, str],
    reference: tuple[str, str],
    values: tuple[Any, Any, Any],
    alpha: float,
) -> dict[str, Any]:
    x, y, runs = values
    result = compare(
        x, y, runs, alpha=alpha, rng=seeded(0, name, level, quantity, *key, *reference)
    )
    return {
        "setting": name,
        "level": level,
        "quantity": quantity,
        "label": f"{key[1]} ({key[0]})",
        "source": key[0],
        "channel": key[1],
        "reference": f"{reference[1]} ({reference[0]})",
        **result.as_row(),
    }


def _wide(frame: pd.DataFrame, index: str, column: str) -> pd.DataFrame:
    return frame.pivot_table(
        index=index, columns=["source", "channel"], values=column, dropna=False
    )


def _keys(wide: pd.DataFrame) -> list[tuple[str, str]]:
    sources, names = (wide.columns.get_level_values(i) for i in (0, 1))
    found = zip(sources, names, strict=True)
    return [(str(s), str(c)) for s, c in found if wide[s, c].notna().any()]


def _windows(
    name: str, energy: pd.DataFrame, wanted: Mapping[str, str] | None, alpha: float
) -> Iterator[dict[str, Any]]:
    usable = energy[[FLAGGED.isdisjoint(flags) for flags in energy["flags"]]]
    for level, part in usable.groupby("level"):
        runs = part.drop_duplicates("window_id").set_index("window_id")["run_id"]
        for quantity, column in (("energy", "energy_j"), ("power", "mean_w")):
            wide = _wide(part, "window_id", column)
            for key, reference in _references(_keys(wide), wanted):
                values = wide[key], wide[reference], runs.reindex(wide.index).fillna("")
                yield _row(name, str(level), quantity, key, reference, values, alpha)


def _rows(
    name: str, reported: pd.DataFrame, wanted: Mapping[str, str] | None, alpha: float
) -> Iterator[dict[str, Any]]:
    used = reported[reported["kind"] != "idle"]
    for quantity, column in (("energy", "energy_j"), ("power", "mean_w")):
        wide = _wide(used, "row", column)
        # Each row stands for itself: rows are what is resampled.
        for key, reference in _references(_keys(wide), wanted):
            values = wide[key], wide[reference], wide.index.astype(str)
            yield _row(name, "row", quantity, key, reference, values, alpha)


def _samples(
    name: str,
    samples: pd.DataFrame,
    channels: pd.DataFrame,
    wanted: Mapping[str, str] | None,
    alpha: float,
) -> Iterator[dict[str, Any]]:
    """Means over bins as long as the slower channel's period, of all recordings of the set."""
    levels: dict[tuple[str, str], list[np.ndarray]] = {}
    runs: list[np.ndarray] = []
    power = channels[channels["kind"] == "power"]
    slow_s = float(power["period_s"].astype("float64").max()) if len(power) else 0.0
    if not np.isfinite(slow_s) or not slow_s:
        return
    keys = list(dict.fromkeys(zip(power["source"], power["channel"], strict=True)))
    for recording, listed in power.groupby("recording"):
        part = samples[samples["recording"] == recording]
        for found in channels_of(part, listed).values():
            made = grid(found, max(slow_s, MIN_BIN_S))
            size = max((len(level) for level in made.level.values()), default=0)
            nothing = np.full(size, np.nan)
            for key in keys:
                levels.setdefault(key, []).append(made.level.get(key, nothing))
            runs.append(np.full(size, str(recording), dtype=object))
    if not runs:
        return
    joined = {key: np.concatenate(parts) for key, parts in levels.items()}
    by_run = np.concatenate(runs)
    for key, reference in _references(keys, wanted):
        values = joined[key], joined[reference], by_run
        yield _row(name, "sample", "power", key, reference, values, alpha)


def pairs(
    name: str,
    energy: pd.DataFrame,
    reported: pd.DataFrame,
    samples: pd.DataFrame,
    channels: pd.DataFrame,
    wanted: Mapping[str, str] | None,
    alpha: float,
) -> pd.DataFrame:
    """Compare what tells of the same thing in one set.

    Args:
        name: Name of the set; becomes ``setting``.
        energy: Table ``energy``.
        reported: Table ``reported``.
        samples: Table ``samples`` with t_ns on the recording's clock.
        channels: Table ``channels``.
        wanted: ``{"source", "channel"}`` that all others are compared with; None: the channels of
            each device with the best of them.
        alpha: Level of the Kolmogorov–Smirnov test.

    Returns:
        Table ``agreement``; level run, epoch and load are windows, row is rows of figures, sample
        means over bins of the slower channel's period.
    """
    found: list[dict[str, Any]] = []
    if len(energy):
        found += _windows(name, energy, wanted, alpha)
    if len(reported):
        found += _rows(name, reported, wanted, alpha)
    if len(samples):
        found += _samples(name, samples, channels, wanted, alpha)
    kept = [row for row in found if row["n"] > 0]
    return pd.DataFrame(kept) if kept else tables.empty("agreement")
