"""Checks on rows of others' figures (table ``reported``), where no reading is left to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from wattproof.quality import bookkeeping, counted
from wattproof.quality.finding import Finding, finding
from wattproof.quality.pairs import nearest_factor

MIN_ROWS = 20
CONSTANT_CV = 2e-3
"""A measured ratio of two energies scatters by more than this."""

NEARLY_CV, NEARLY_OFF = 0.08, 0.1
"""A total that is off from its parts by more than the second, and nearly always by as much."""

EXACT = 1e-6
EXTRAPOLATED_SHARE = 0.2
MIN_GROUPS = 3
PLAUSIBLE_W = (0.001, 200_000.0)
OVER_LIMIT = 1.15
FEW_SHARE = 0.05
"""Fewer odd rows are to be left out, and say little about the others."""
LIMIT_COLUMN = "config_power_limit"


def _pivot(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Figures of one row of the file side by side, by source and channel."""
    return rows.pivot_table(index="row", columns=["source", "channel"], values=column)


def _total(channel: str) -> bool:
    return channel.endswith(".total") or channel.startswith("node.")


def constant_factor(rows: pd.DataFrame) -> Iterator[Finding]:
    """A total that is a multiple of its parts, or counts them more than once."""
    wide = _pivot(rows, "energy_j")
    if wide.shape[1] < 2 or len(wide) < MIN_ROWS:
        return
    recording = str(rows["recording"].iloc[0])
    sources, names_ = (wide.columns.get_level_values(level) for level in (0, 1))
    keys = [(str(s), str(c)) for s, c in zip(sources, names_, strict=True)]
    for key in keys:
        if not _total(key[1]):
            continue
        names = [c for c in keys if c != key and not _total(c[1])]
        if not names:
            continue
        together = wide[names].sum(axis=1, min_count=len(names))
        words = "the sum of " + " and ".join(name for _, name in names)
        candidates = {words: together} | {name: wide[source, name] for source, name in names}
        found = [
            (words, *_ratio(wide[key], part)) for words, part in candidates.items() if len(part)
        ]
        exact = [f for f in found if f[2] < CONSTANT_CV and abs(f[1] - 1) > 0.01]
        near = [f for f in found[:1] if f[2] < NEARLY_CV and abs(f[1] - 1) > NEARLY_OFF]
        if exact:
            yield _multiple(recording, key, "constant_factor", exact[0], len(wide))
            continue
        told, left = counted.told(recording, key, names, rows)
        yield from told
        if near and not abs(left) < counted.SUM_OFF:
            yield _multiple(recording, key, "parts_do_not_add_up", near[0], len(wide))


def _multiple(
    recording: str, key: tuple[str, str], flag: str, hit: tuple[str, float, float, int], rows: int
) -> Finding:
    words, middle, spread, n = hit
    exact = flag == "constant_factor"
    why = "which no measurement would be" if exact else "so more is in it than is told"
    return finding(
        recording,
        flag,
        f"{key[1]} is {middle:.4g} times {words} in {n} rows (nine in ten within {spread:.1%}), "
        f"{why}.",
        source=key[0],
        channel=key[1],
        value=middle,
        unit="1",
        affected=n,
        of=rows,
    )


def _ratio(total: pd.Series, part: pd.Series) -> tuple[float, float, int]:
    """Median ratio of a total to a part, how far nine in ten are from it, and their number."""
    both = total.notna() & part.notna() & (part > 0)
    if both.sum() < MIN_ROWS:
        return 1.0, float("inf"), 0
    ratio = (total[both] / part[both]).to_numpy(np.float64)
    middle = float(np.median(ratio))
    return middle, float(np.quantile(np.abs(ratio / middle - 1), 0.9)), int(both.sum())


def extrapolated(rows: pd.DataFrame) -> Iterator[Finding]:
    """Energies at several budgets that are exact multiples of one another."""
    known = rows.dropna(subset=["epochs", "energy_j", "network_key"])
    known = known[known["epochs"].astype("float64") > 0]
    for (source, channel), part in known.groupby(["source", "channel"]):
        each = part["energy_j"].astype("float64") / part["epochs"].astype("float64")
        keys = [part["network_key"], part["replicate"].fillna(-1)]
        several = each.groupby(keys).agg(["count", "min", "max"])
        distinct = part.groupby(keys)["epochs"].nunique()
        several = several[distinct.reindex(several.index) > 1]
        if len(several) < MIN_GROUPS:
            continue
        exact = (several["max"] - several["min"]) <= EXACT * several["max"]
        if exact.mean() >= EXTRAPOLATED_SHARE:
            yield finding(
                str(rows["recording"].iloc[0]),
                "extrapolated_rows",
                f"In {int(exact.sum())} of {len(several)} networks the energy per epoch is the "
                "same to a millionth at every budget.",
                source=str(source),
                channel=str(channel),
                affected=int(exact.sum()),
                of=len(several),
            )


def duplicated(rows: pd.DataFrame) -> Iterator[Finding]:
    """Networks in more than one part of the split."""
    known = rows.dropna(subset=["split", "network_key"])
    if known.empty:
        return
    parts = known.groupby("network_key")["split"].nunique()
    twice = parts[parts > 1]
    if len(twice):
        yield finding(
            str(rows["recording"].iloc[0]),
            "duplicated_networks",
            f"{len(twice)} of {len(parts)} networks stand in more than one part of the split, e.g. "
            f"{twice.index[0]}.",
            affected=len(twice),
            of=len(parts),
        )


def repeated(rows: pd.DataFrame) -> Iterator[Finding]:
    """Rows that repeat the figures of another row exactly."""
    for (source, channel), part in rows.groupby(["source", "channel"]):
        figures = part[["energy_j", "mean_w", "duration_s"]].astype("float64")
        told = figures.notna().sum(axis=1) >= 2
        fractional = (figures["duration_s"] % 1 != 0) & figures["duration_s"].notna()
        same = figures[told & fractional].duplicated(keep="first")
        if len(same) >= MIN_ROWS // 2 and same.sum() > 0.01 * len(same):
            yield finding(
                str(rows["recording"].iloc[0]),
                "repeated_rows",
                f"{int(same.sum())} of {len(same)} rows repeat energy, power and time of another "
                "row to the last digit.",
                source=str(source),
                channel=str(channel),
                affected=int(same.sum()),
                of=len(same),
            )


def zeros(rows: pd.DataFrame) -> Iterator[Finding]:
    """Figures of exactly 0 beside others that are not."""
    for (source, channel), part in rows.groupby(["source", "channel"]):
        for column, unit in (("mean_w", "W"), ("energy_j", "J")):
            value = part[column].astype("float64").dropna()
            zero = value == 0.0
            if zero.any() and (not zero.all() or len(value) >= 5):
                rest = value[~zero]
                beside = (
                    "and no other value is there"
                    if rest.empty
                    else f"beside others of {rest.min():.3g} {unit} and more"
                )
                yield finding(
                    str(rows["recording"].iloc[0]),
                    "zero_means_missing",
                    f"{int(zero.sum())} of {len(value)} rows are exactly 0 {unit}, {beside}.",
                    source=str(source),
                    channel=str(channel),
                    affected=int(zero.sum()),
                    of=len(value),
                )
                break


def units(rows: pd.DataFrame) -> Iterator[Finding]:
    """Energy, power and time of one row that contradict each other by a factor of units."""
    for (source, channel), part in rows.groupby(["source", "channel"]):
        figures = part[["energy_j", "mean_w", "duration_s"]].astype("float64").dropna()
        figures = figures[(figures > 0).all(axis=1)]
        if len(figures) < 3:
            continue
        ratio = figures["energy_j"] / (figures["mean_w"] * figures["duration_s"])
        middle = float(ratio.median())
        factor = nearest_factor(middle)
        if factor is not None:
            yield finding(
                str(rows["recording"].iloc[0]),
                "wrong_unit",
                f"Energy is {middle:.4g} times power times duration in {len(figures)} rows, "
                f"{factor[1]}.",
                source=str(source),
                channel=str(channel),
                value=middle,
                unit="1",
                affected=len(figures),
                of=len(part),
            )


def implausible(rows: pd.DataFrame) -> Iterator[Finding]:
    """Power that no such device has, or above the limit that the row itself states."""
    for (source, channel), part in rows.groupby(["source", "channel"]):
        power = part["mean_w"].astype("float64")
        low, high = PLAUSIBLE_W
        bad = power.notna() & (power != 0) & ((power < low) | (power > high))
        words = f"outside {low:g} W to {high / 1000:g} kW"
        if LIMIT_COLUMN in part and str(channel).startswith("gpu"):
            limit = pd.to_numeric(part[LIMIT_COLUMN], errors="coerce")
            over = power > OVER_LIMIT * limit
            if over.any():
                bad, words = (
                    over,
                    f"more than {OVER_LIMIT - 1:.0%} above the power limit of its row",
                )
        if bad.any():
            yield finding(
                str(rows["recording"].iloc[0]),
                "energy_time_implausible",
                f"{int(bad.sum())} of {int(power.notna().sum())} rows have a mean power {words} "
                f"(up to {power[bad].max():.4g} W).",
                source=str(source),
                channel=str(channel),
                affected=int(bad.sum()),
                of=int(power.notna().sum()),
                value=float(power[bad].max()),
                unit="W",
                severity="error" if bad.sum() > FEW_SHARE * power.notna().sum() else "warning",
            )


def lengths(rows: pd.DataFrame) -> Iterator[Finding]:
    """Rows that took no time."""
    duration = rows.drop_duplicates("row")["duration_s"].astype("float64").dropna()
    bad = duration <= 0
    if bad.any():
        yield finding(
            str(rows["recording"].iloc[0]),
            "empty_window",
            f"{int(bad.sum())} of {len(duration)} rows have a duration of 0 s or less.",
            affected=int(bad.sum()),
            of=len(duration),
        )


def idle(rows: pd.DataFrame) -> Iterator[Finding]:
    """No idle figure of a GPU whose power is reported."""
    gpu = rows[rows["channel"].str.startswith("gpu") & rows["mean_w"].notna()]
    if len(gpu) and not (gpu["kind"] == "idle").any():
        yield finding(
            str(rows["recording"].iloc[0]),
            "no_idle",
            f"None of {gpu['row'].nunique()} rows is an idle measurement of the GPU.",
        )


CHECKS: tuple[Callable[[pd.DataFrame], Iterator[Finding]], ...] = (
    constant_factor,
    extrapolated,
    duplicated,
    repeated,
    zeros,
    units,
    implausible,
    lengths,
    idle,
    bookkeeping.device_names,
    bookkeeping.before_epochs,
)
"""All checks of rows."""
