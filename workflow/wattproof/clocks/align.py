"""The clock of every source against the recording's, one row per session and source.

Levels decide, arrival stamps only say where to look: a serial line delays, buffers and hiccups,
but the meter and the GPU's own sensor see the same load at the same moment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from wattproof import tables
from wattproof.clocks import arrival, exchange, far
from wattproof.clocks.frames import (
    F64Array,
    Int64Array,
    as_frame,
    floats,
    good,
    groups,
    int64,
    records,
)
from wattproof.clocks.levels import (
    Levels,
    from_counter,
    from_stamped_power,
    host_series,
    pick_reference,
    spread_w,
)
from wattproof.clocks.match import MIN_DRIFT_SPAN_S, Refusal, match_levels
from wattproof.clocks.stamps import device_to_mono
from wattproof.units import NS_PER_S

DEFAULTS: dict[str, float] = {
    "min_confidence": 0.5,
    "max_offset_s": 5.0,
    "max_residual_s": 0.1,
    "min_duration_s": 5.0,
    "min_unmarked_s": 20.0,
    "grid_s": 0.02,
}
"""Settings of `align`; keys given by a campaign (``analysis``) take their place.

``min_confidence``: weaker alignments are refused. ``max_offset_s``: range of lags around what
arrival stamps suggest. ``max_residual_s``: largest scatter of local offsets. ``min_duration_s``:
shortest common stretch, and ``min_unmarked_s`` without a synchronisation pattern in it (a few
self-similar epochs match at any lag by whole epochs). ``grid_s``: step of the common grid.
"""

SAME_CLOCK = "same_clock"
LEVELS = "level_correlation"
LEVELS_NO_DRIFT = "level_correlation_zero_drift"
"""The recording is too short to carry a drift; it is set to 0."""
LEVELS_ARRIVAL_DRIFT = "level_correlation_arrival_drift"
"""Too few level changes along the recording: the drift is that of the arrival stamps."""

FULL_RATIO = 0.8
"""A second peak from here on is named as the reason of a refusal."""

Part = tuple[dict[str, Any], Int64Array, Int64Array, F64Array]
"""A series of a device: its channel, stamps, arrivals and values."""

EXCHANGED = "exchanged_epochs"
"""Messages that both machines stamped."""

MIN_SPREAD_W = 1.0
MIN_SPREAD_SHARE = 0.01
"""Levels that vary by less than 1 W or 1 % carry no timing."""


def _row(key: tuple[Any, ...], clock: str, **values: Any) -> dict[str, Any]:
    recording, session, source = key
    return {
        "recording": recording,
        "session": session,
        "source": source,
        "clock": clock,
        "against": "",
        "offset_ns": None,
        "drift_ppm": None,
        "anchor_ns": None,
        "residual_ns": None,
        "confidence": 0.0,
        "method": LEVELS,
        "accepted": False,
        "reason": "",
        **values,
    }


def _varies(series: list[Levels], sync_ns: list[tuple[int, int]]) -> bool:
    """Whether levels move enough, over the recording or inside the synchronisation pattern."""
    for levels in series:
        parts = [levels]
        for begin, end in sync_ns:
            keep = (levels.t_ns >= begin) & (levels.t_ns < end)
            if np.count_nonzero(keep) >= 2:
                parts.append(Levels(levels.t_ns[keep], levels.value[keep], levels.period_s))
        level = float(np.median(np.abs(levels.value)))
        if max(spread_w(part) for part in parts) >= max(MIN_SPREAD_W, MIN_SPREAD_SHARE * level):
            return True
    return False


def _references(
    samples: dict[tuple[Any, ...], pd.DataFrame], channels: pd.DataFrame
) -> list[tuple[str, list[Levels]]]:
    found = []
    for source, part in pick_reference(channels):
        series = []
        for item in records(part):
            rows = samples.get((item["source"], item["channel"]))
            levels = host_series(rows, item) if rows is not None else None
            if levels is not None and len(levels.t_ns) >= 2:
                series.append(levels)
        if series:
            found.append((source, series))
    return found


def _has_arrivals(channels: pd.DataFrame) -> bool:
    """Whether rows hold the time at which values arrived; foreign logs say that they do not."""
    return all(
        json.loads(text or "{}").get("arrival", True) is not False for text in channels["identity"]
    )


def _nowhere(stamp: Int64Array) -> arrival.Prior:
    """A prior that leaves the device's stamps as they are: nothing places them."""
    return arrival.Prior(int(stamp[0]), 0, 0.0, float("inf"))


def _levels(parts: list[Part], prior: arrival.Prior) -> list[Levels]:
    """Levels of a source's series, its stamps straightened by what is known of its clock."""
    found = []
    for item, stamp, _, value in parts:
        t = device_to_mono(stamp, prior.offset_ns, prior.drift_ppm, prior.anchor_ns)
        found.append(
            from_stamped_power(t, value, item["averaging_s"])
            if item["kind"] == "power"
            else from_counter(t, value)
        )
    return found


def _nowhere_sure(place: far.Far, settings: dict[str, float]) -> str:
    """Why a log without arrival stamps has no place on the recording's clock."""
    peak = place.peak
    limit = f"confidence {place.confidence:.2f} is below {settings['min_confidence']:g}"
    if peak.height >= settings["min_confidence"] and peak.ratio > FULL_RATIO:
        return (
            "The log fits at several places nearly as well "
            f"({peak.second:.2f} against {peak.height:.2f}; {limit})."
        )
    return (
        "No place on the recording's clock shows the same levels "
        f"(best correlation {peak.height:.2f}, {peak.strength:.1f} standard deviations; {limit})."
    )


def _align_source(
    key: tuple[Any, ...],
    channels: pd.DataFrame,
    samples: dict[tuple[Any, ...], pd.DataFrame],
    references: list[tuple[str, list[Levels]]],
    sync_ns: list[tuple[int, int]],
    chosen: dict[str, float],
) -> dict[str, Any]:
    source = key[2]

    def refuse(reason: str, against: str = "", confidence: float = 0.0) -> dict[str, Any]:
        return _row(key, "device", reason=reason, against=against, confidence=confidence)

    own = channels[(channels["clock"] == "device") & channels["kind"].isin(["power", "energy"])]
    if (own["kind"] == "power").any():
        own = own[own["kind"] == "power"]
    parts: list[Part] = []
    for item in records(own):
        rows = samples.get((source, item["channel"]))
        if rows is None:
            continue
        rows = rows[good(rows)]
        stamp, known = int64(rows, "device_ns")
        order = np.flatnonzero(known)[np.argsort(stamp[known], kind="stable")]
        if len(order) >= 2:
            end, _ = int64(rows, "end_ns")
            parts.append((item, stamp[order], end[order], floats(rows, "value")[order]))
    if not parts:
        return refuse(f"Source '{source}' has no good samples with stamps of its own.")

    _, stamp, end, _ = max(parts, key=lambda part: len(part[1]))
    duration_s = float(stamp[-1] - stamp[0]) / NS_PER_S
    least_s = chosen["min_duration_s" if sync_ns else "min_unmarked_s"]
    if duration_s < least_s:
        return refuse(
            f"The recording of '{source}' lasts {duration_s:.1f} s; less than {least_s:g} s "
            f"{'' if sync_ns else 'without a synchronisation pattern '}cannot be aligned."
        )
    placed = _has_arrivals(own)
    prior = arrival.fit(stamp, end) if placed else _nowhere(stamp)
    if placed and duration_s < MIN_DRIFT_SPAN_S and prior.drift_ppm:
        middle = (duration_s / 2) * prior.drift_ppm * 1e-6
        offset = prior.offset_ns + round(middle * NS_PER_S)
        prior = arrival.Prior(prior.anchor_ns, offset, 0.0, float("inf"))
    device = _levels(parts, prior)
    if not _varies(device, sync_ns):
        return refuse(f"The levels of '{source}' hardly vary; there is nothing to align on.")
    if not references:
        return refuse("No power channel on the recording's own clock is there to compare with.")
    lively = [(name, series) for name, series in references if _varies(series, sync_ns)]
    if not lively:
        return refuse(
            f"The levels of '{references[0][0]}' hardly vary; there is nothing to align on.",
            references[0][0],
        )
    against, reference = lively[0]
    sure = 1.0
    if not placed:
        place = far.find(reference, device, chosen["max_offset_s"])
        if place.confidence < chosen["min_confidence"]:
            return refuse(_nowhere_sure(place, chosen), against, place.confidence)
        prior = arrival.Prior(prior.anchor_ns, place.offset_ns, 0.0, float("inf"))
        device = _levels(parts, prior)
        sure = place.confidence
    found = match_levels(reference, device, sync_ns, prior, chosen)
    if isinstance(found, Refusal):
        return refuse(found.reason, against, found.confidence)

    # recording = straightened − late − slope·(straightened − centre), told at the anchor stamp.
    straight = prior.anchor_ns + prior.offset_ns
    late_s = found.late_s + found.slope * (straight - found.centre_ns) / NS_PER_S
    drift = (1 + prior.drift_ppm * 1e-6) * (1 - found.slope) - 1
    method = LEVELS if found.from_levels else LEVELS_ARRIVAL_DRIFT
    return _row(
        key,
        "device",
        against=against,
        offset_ns=prior.offset_ns - round(late_s * NS_PER_S),
        drift_ppm=drift * 1e6,
        anchor_ns=prior.anchor_ns,
        residual_ns=found.residual_s * NS_PER_S if np.isfinite(found.residual_s) else None,
        confidence=min(found.confidence, sure),
        method=method if duration_s >= MIN_DRIFT_SPAN_S else LEVELS_NO_DRIFT,
        accepted=True,
    )


def _by_messages(key: tuple[Any, ...], rows: pd.DataFrame, least: float) -> dict[str, Any]:
    """The clock of a source whose machine exchanged stamped messages with the recording's."""
    columns = ("sent_ns", "device_ns", "received_ns")
    whole = rows.dropna(subset=list(columns))
    found = exchange.fit(*(int64(whole, name)[0] for name in columns))
    if isinstance(found, Refusal):
        return _row(key, "device", method=EXCHANGED, reason=found.reason)
    values = {
        "method": EXCHANGED,
        "confidence": found.confidence,
        "residual_ns": max(found.residual_s, found.half_width_s) * NS_PER_S,
    }
    if found.confidence < least:
        return _row(
            key,
            "device",
            reason=f"The answers took so long that the offset is only known to "
            f"±{found.half_width_s:.2f} s.",
            **values,
        )
    return _row(
        key,
        "device",
        against="messages",
        offset_ns=found.offset_ns,
        drift_ppm=found.drift_ppm,
        anchor_ns=found.anchor_ns,
        accepted=True,
        **values,
    )


def _sync_windows(marks: pd.DataFrame) -> dict[tuple[Any, ...], list[tuple[int, int]]]:
    """Begin and end of every synchronisation pattern, by (recording, session)."""
    found: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
    begun: dict[tuple[Any, ...], int] = {}
    sync = marks[(marks["name"] == "sync").fillna(False).to_numpy(dtype=bool)]
    for mark in records(sync.sort_values("mono_ns", kind="stable")):
        key = (mark["recording"], mark["session"])
        if mark["kind"] == "load_begin":
            begun[key] = int(mark["mono_ns"])
        elif mark["kind"] == "load_end" and key in begun:
            found.setdefault(key, []).append((begun.pop(key), int(mark["mono_ns"])))
    return found


def align(
    samples: pd.DataFrame | pa.Table,
    channels: pd.DataFrame | pa.Table,
    marks: pd.DataFrame | pa.Table,
    settings: Mapping[str, Any],
    exchanges: pd.DataFrame | pa.Table | None = None,
) -> pd.DataFrame:
    """Find the clock of every source against the recording's monotonic clock.

    Sources on the host's clock share it (``same_clock``). A source with its own clock is aligned
    by cross-correlation of its levels with the best host-clock power channel; arrival stamps only
    bring it into the searched range and help with the drift. Weak evidence is refused.

    Args:
        samples: Table ``samples``.
        channels: Table ``channels``.
        marks: Table ``marks``; loads named ``sync`` mark the synchronisation patterns.
        settings: Keys of `DEFAULTS`; other keys are ignored.
        exchanges: Table ``exchanges``: a source that has rows there is aligned by them.

    Returns:
        Table ``clocks``: ``mono = stamp + offset_ns + drift_ppm·1e-6·(stamp − anchor_ns)``;
        offset, drift and anchor are null and `reason` is a sentence where it was refused.
    """
    chosen = {key: float(settings.get(key, value)) for key, value in DEFAULTS.items()}
    frame, listed = as_frame(samples), as_frame(channels)
    sync = _sync_windows(as_frame(marks))
    messages = as_frame(tables.empty("exchanges") if exchanges is None else exchanges)
    by_messages = groups(messages, ("recording", "session", "source"))
    by_session = groups(frame, ("recording", "session"))
    rows: list[dict[str, Any]] = []
    for (recording, session), where in groups(listed, ("recording", "session")).items():
        own = listed.iloc[where]
        on_device = set(own.loc[own["clock"] == "device", "source"])
        parts: dict[tuple[Any, ...], pd.DataFrame] = {}
        references: list[tuple[str, list[Levels]]] = []
        if on_device and (recording, session) in by_session:
            part = frame.iloc[by_session[recording, session]]
            parts = {k: part.iloc[v] for k, v in groups(part, ("source", "channel")).items()}
            references = _references(parts, own)
        for source in own["source"].unique():
            key = (recording, session, source)
            if source in on_device and key in by_messages:
                own_messages = messages.iloc[by_messages[key]]
                rows.append(_by_messages(key, own_messages, chosen["min_confidence"]))
            elif source in on_device:
                mine = own[own["source"] == source]
                sync_ns = sync.get((recording, session), [])
                rows.append(_align_source(key, mine, parts, references, sync_ns, chosen))
            else:
                same = {"offset_ns": 0, "drift_ppm": 0.0, "anchor_ns": 0, "residual_ns": 0.0}
                rows.append(
                    _row(key, "host", **same, confidence=1.0, method=SAME_CLOCK, accepted=True)
                )
    if not rows:
        return tables.empty("clocks")
    found = pd.DataFrame(rows)
    for column in ("offset_ns", "anchor_ns"):
        values = [row[column] for row in rows]
        found[column] = pd.array(values, dtype="Int64")
    for column in ("drift_ppm", "residual_ns", "confidence"):
        found[column] = found[column].astype("float64")
    return found
