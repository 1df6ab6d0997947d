"""Which GPU each row of a log of nvidia-smi is of, also where the rows do not say.

Without a field that names the GPU, the rows of one poll (stamps close together, with a longer gap
before the next poll) are the GPUs in their order. Only polls with one row for each GPU can be
shared out so: of any other poll nobody knows whose row is missing, so it is left out and counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.errors import WattproofError
from wattproof.ingest.base import Log
from wattproof.ingest.nvidia_smi_text import PLACES, lost
from wattproof.ingest.series import finding
from wattproof.units import NS_PER_S

Int64Array = NDArray[np.int64]

_MOST_GPUS = 16
_CLOSE = 0.5
"""A poll takes at most this share of the time between polls."""
_APART = 3.0
"""Gaps between polls are at least this many times longer than those within."""
_FEW = 0.1
"""A smaller share of rows close to another one is jitter of a single GPU's log."""
_FEWEST_POLLS = 4
_DOMINANT = 5.0
"""The jump between short and long gaps is so many times greater than any other."""
_RESOLUTION_NS = 1e6
_ONE_POLL_NS = 1e7
"""A log of one poll only is that short."""
_FASTEST_NS = 1e7
"""No GPU is polled more often than this; closer rows are of several GPUs."""
_SLOWEST_NS = 5e8
"""Rows of one poll that follow each other more slowly than this are of polls of their own."""


def _cut(gaps: NDArray[np.float64], most: int) -> float | None:
    """Length that parts short gaps (within polls) from long ones (between them); None: unclear."""
    ordered = np.maximum(np.sort(np.abs(gaps)), _RESOLUTION_NS)
    count = len(ordered)
    short = np.arange(1, count)
    jump = ordered[1:] / ordered[:-1]
    clear = (jump >= _APART) & (short >= _FEW * count)
    clear &= count - short + 1 >= (count + 1) / most
    found = short[clear][np.argsort(-jump[clear])]
    if not len(found):
        return None
    if len(found) > 1 and jump[found[0] - 1] < _DOMINANT * jump[found[1] - 1]:
        # Gaps of three lengths: polls within bursts, or GPUs within polls.
        return None
    if float(np.median(ordered[: found[0]])) > _SLOWEST_NS:
        return None
    return float(np.sqrt(ordered[found[0] - 1] * ordered[found[0]]))


def _polls(t_ns: Int64Array, cut: float) -> tuple[Int64Array, Int64Array, NDArray[np.bool_]]:
    """First row and number of rows of each poll, and whether it is short enough to be one."""
    gaps = np.diff(t_ns).astype(np.float64)
    edge = (gaps > cut) | (gaps < 0)
    first = np.concatenate(([0], np.flatnonzero(edge) + 1)).astype(np.int64)
    size = np.diff(np.append(first, len(t_ns)))
    span = t_ns[first + size - 1] - t_ns[first]
    between = float(np.median(gaps[gaps > cut]))
    return first, size, span <= _CLOSE * between


def _steady(gaps: NDArray[np.float64]) -> bool:
    """Whether rows follow each other like polls of one GPU, some of which may be lost."""
    middle = float(np.median(gaps))
    if middle < _FASTEST_NS:
        return False
    share = gaps / middle
    long = share > 1.6
    # Where polls were lost, gaps are multiples of the usual one; rare pauses may be anything.
    odd = long & (np.abs(share - np.rint(share)) > 0.25)
    return bool(
        long.mean() <= (0.15 if len(gaps) > 8 else 0.5)
        and (share <= 0.6).mean() < _FEW
        and odd.mean() <= 0.05
    )


def _refuse(log: Log, why: str) -> WattproofError:
    return WattproofError(
        f"{log.path}: the rows do not say which GPU they are of, and {why}; log the field index, "
        "or say the number of GPUs in the manifest (gpus: 1 for a single one)."
    )


def _share_out(
    log: Log, t_ns: Int64Array, stated: int | None, findings: list[dict[str, Any]]
) -> Int64Array:
    """GPU of each row by its place in its poll; -1 where that is unknown."""
    rows = len(t_ns)
    single = np.zeros(rows, dtype=np.int64)
    if stated == 1 or (rows == 1 and stated is None):
        return single
    if rows == 1:
        raise _refuse(log, "there is one row only")
    gaps = np.diff(t_ns).astype(np.float64)
    cut = _cut(gaps, max(_MOST_GPUS, stated or 0)) if rows > 2 else None
    if cut is None and stated is not None and rows > 2:
        cut = _cut(gaps, stated)
    if cut is None:
        if stated is None and _steady(gaps):
            return single
        if stated == rows and gaps.min() >= 0 and gaps.sum() <= _ONE_POLL_NS:
            return np.arange(rows, dtype=np.int64)
        raise _refuse(log, "their time stamps do not tell one poll from the next")
    first, size, short = _polls(t_ns, cut)
    sizes, times = np.unique(size, return_counts=True)
    common, most = int(sizes[times.argmax()]), int(sizes[-1])
    count = stated or common
    if stated is None and common == 1 and (rows - len(size)) < _FEW * rows:
        return single
    if most > count:
        raise _refuse(
            log,
            f"some polls have {most} rows, more than "
            + (f"the {count} GPUs of the manifest" if stated else f"the {count} of most polls"),
        )
    seconds = not (t_ns % NS_PER_S).any()
    unsure = stated is None or bool((size[:-1] != count).any())
    if unsure and seconds and np.median(np.diff(t_ns[first])) < 1.5 * NS_PER_S:
        raise _refuse(log, "stamps of whole seconds hide how many polls there were in each")
    whole = (size == count) & short
    if not whole.any() or (
        stated is None and (int(whole.sum()) < _FEWEST_POLLS or count > _MOST_GPUS)
    ):
        raise _refuse(log, f"only {int(whole.sum())} polls have {count} rows")
    if stated is None:
        findings.append(
            finding(
                log,
                "inferred_devices",
                f"The rows do not say which GPU they are of; {count} GPUs take turns, by the "
                "repetition of stamps.",
                "Log the field index or uuid; say 'gpus' in the manifest if the number is wrong.",
                severity="warning",
            )
        )
    turns = np.arange(rows, dtype=np.int64) - np.repeat(first, size)
    turns[~np.repeat(whole, size)] = -1
    findings += lost(
        log,
        int((turns < 0).sum()),
        rows,
        f"rows were left out: {int((~whole).sum())} of {len(size)} polls"
        + (", the last one among them," if not whole[-1] else "")
        + f" do not have one row for each of {count} GPUs, and nothing says whose row is missing",
    )
    return turns


def sort_out(
    log: Log, frame: pd.DataFrame, t_ns: Int64Array, findings: list[dict[str, Any]]
) -> tuple[Int64Array, dict[int, str]]:
    """Number of the GPU of each row (-1: unknown, left out), and the name of each GPU.

    Raises:
        WattproofError: Nothing says which rows are of which GPU.
    """
    for place in (name for name in PLACES if name in frame):
        words = frame[place].fillna("").str.strip()
        if place == "index":
            good = words.str.fullmatch(r"\d{1,4}").to_numpy(dtype=bool)
        else:
            good = words.str.fullmatch(r"[^\[\]]+").to_numpy(dtype=bool)
        if not good.any():
            continue
        slots = np.full(len(words), -1, dtype=np.int64)
        labels = words
        if place == "index":
            slots[good] = words[good].astype("int64").to_numpy()
            uuid = next((n for n in ("uuid", "gpu_uuid") if n in frame), None)
            labels = frame[uuid].fillna("").str.strip() if uuid else words
        else:
            order = {word: i for i, word in enumerate(sorted(words[good].unique()))}
            slots[good] = words[good].map(order).to_numpy(dtype=np.int64)
        what = f"rows do not say in '{place}' which GPU they are of and were left out"
        findings += lost(log, int((~good).sum()), len(good), what)
        return slots, {
            int(slot): str(labels[slots == slot].iloc[0]) for slot in np.unique(slots[good])
        }
    return _share_out(log, t_ns, log.settings["gpus"], findings), {}
