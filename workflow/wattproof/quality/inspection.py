"""One recording: its series, its streams against each other, its clocks, windows and sources."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from wattproof import tables
from wattproof.clocks import COLUMNS, channel_time, far
from wattproof.clocks.frames import int64, records
from wattproof.quality import grid, pairs, series
from wattproof.quality.finding import Finding, finding
from wattproof.quality.series import Channel
from wattproof.quality.windows import device_limits
from wattproof.units import NS_PER_S

THROTTLED = 0x04 | 0x08 | 0x20 | 0x40 | 0x80
"""Bits of NVML's throttle reasons that slow a board down: power cap, hardware slowdown, software
and hardware thermal slowdown, power brake (nvml.h, nvmlClocksEventReason…)."""

THROTTLED_SHARE = 0.01
BUSY_PERCENT = 90.0
SLOW_CLOCK = 0.8
"""A busy board whose clock is below this share of its own usual one (95 % quantile) is slowed down.
"""
MIN_BUSY = 50
"""Fewer readings of a busy board do not show what its usual clock is."""
FAR_S = 300.0
"""A log whose clock is further off than this is of another time zone, or of a clock never set."""

CALIBRATION = "calibration"


def channels_of(samples: pd.DataFrame, listed: pd.DataFrame) -> dict[int, list[Channel]]:
    """Readings by session and channel, each by time.

    Args:
        samples: Table ``samples`` of one recording with t_ns (null where the clock was refused).
        listed: Table ``channels`` of the same.
    """
    found: dict[int, list[Channel]] = {}
    for session, channel in each_channel(samples, listed):
        found.setdefault(session, []).append(channel)
    return found


def each_channel(
    samples: tables.SampleStore | pd.DataFrame,
    listed: pd.DataFrame,
    clocks: pd.DataFrame | None = None,
) -> Iterator[tuple[int, Channel]]:
    """Readings of one channel after the other, so that they need not all be in memory.

    Args:
        samples: Table ``samples`` of one recording; its column t_ns is used if it has one.
        listed: Table ``channels`` of the same.
        clocks: Table ``clocks`` of the same; needed where there is no column t_ns.

    Yields:
        Session and channel, by session.
    """
    store = tables.SampleStore.of(samples)
    placed = isinstance(samples, pd.DataFrame) and "t_ns" in samples
    limits = device_limits(listed)
    by_source = (
        {(r["session"], r["source"]): r for r in records(clocks)} if clocks is not None else {}
    )
    about = {
        (str(r["recording"]), int(r["session"]), str(r["source"]), str(r["channel"])): r
        for r in records(listed)
    }
    present = [key for key in about if key in store]
    for key in sorted(present, key=lambda key: key[1]):
        row = about[key]
        clock = str(row["clock"])
        stamped = "end_ns" if clock == "host" else "device_ns"
        place = ("t_ns",) if placed else COLUMNS[clock]
        always_ok = store.constant(key, "status") == "ok"
        wanted = {*place, "end_ns", stamped, "value"} | (set() if always_ok else {"status"})
        part = store.frame(key, sorted(wanted))
        t, known = (
            int64(part, "t_ns") if placed else channel_time(part, clock, by_source.get(key[1:3]))
        )
        if not known.any():
            # A refused clock places nothing, but a series can still be looked at by itself.
            t, known = int64(part, "end_ns")
        stamp, _ = int64(part, stamped)
        value = part["value"].to_numpy(dtype=np.float64)
        status = (
            np.broadcast_to(np.array("ok"), t.shape) if always_ok else part["status"].to_numpy()
        )
        del part
        if not known.all() or np.any(t[1:] < t[:-1]):
            order = np.flatnonzero(known)[np.argsort(t[known], kind="stable")]
            t, stamp, value, status = t[order], stamp[order], value[order], status[order]
        yield (
            key[1],
            Channel(
                recording=key[0],
                source=key[2],
                name=key[3],
                kind=str(row["kind"]),
                t_ns=t,
                stamp_ns=stamp,
                value=value,
                status=status,
                about=row,
                limit_w=limits.get(str(row["device"])),
            ),
        )


def _placed(channels: list[Channel], clocks: pd.DataFrame, session: int) -> list[Channel]:
    """Channels whose time is proven."""
    refused = set(
        clocks.loc[(clocks["session"] == session) & ~clocks["accepted"].astype(bool), "source"]
    )
    return [channel for channel in channels if channel.source not in refused]


def _throttling(channels: list[Channel], windows: pd.DataFrame) -> Iterator[Finding]:
    runs = windows[(windows["level"] == "run") & (windows["setting"] != CALIBRATION)]
    for channel in channels:
        if not channel.name.endswith(".throttle_reasons"):
            continue
        inside = np.zeros(len(channel.t_ns), dtype=bool)
        for run in records(runs):
            inside |= (channel.t_ns >= run["start_ns"]) & (channel.t_ns < run["end_ns"])
        value = np.where(np.isfinite(channel.value), channel.value, 0).astype(np.int64)
        slowed = np.flatnonzero(inside & ((value & THROTTLED) != 0))
        if len(slowed) > THROTTLED_SHARE * max(int(inside.sum()), 1):
            bits = int(np.bitwise_or.reduce(value[slowed])) & THROTTLED
            yield channel.found(
                "throttling",
                f"{len(slowed)} of {int(inside.sum())} readings inside runs report a slowed-down "
                f"board (reasons 0x{bits:02x}).",
                slowed,
                affected=len(slowed),
                of=int(inside.sum()),
                value=100 * len(slowed) / int(inside.sum()),
                unit="%",
            )


def _slow_clocks(channels: list[Channel], windows: pd.DataFrame) -> Iterator[Finding]:
    """Clocks that drop under full load, where no channel tells the reasons."""
    by_key = {(c.source, c.name): c for c in channels}
    runs = windows[(windows["level"] == "run") & (windows["setting"] != CALIBRATION)]
    for (source, name), clock in by_key.items():
        device = name.partition(".")[0]
        usage = by_key.get((source, f"{device}.utilisation"))
        if (
            name != f"{device}.clock_sm"
            or usage is None
            or (source, f"{device}.throttle_reasons") in by_key
            or not len(usage.t_ns)
        ):
            continue
        before = np.maximum(np.searchsorted(usage.t_ns, clock.t_ns, side="right") - 1, 0)
        busy = np.isfinite(clock.value) & (usage.value[before] >= BUSY_PERCENT)
        inside = np.zeros(len(clock.t_ns), dtype=bool)
        for run in records(runs):
            inside |= (clock.t_ns >= run["start_ns"]) & (clock.t_ns < run["end_ns"])
        busy &= inside
        n = int(busy.sum())
        if n < MIN_BUSY:
            continue
        usual = float(np.quantile(clock.value[busy], 0.95))
        slowed = np.flatnonzero(busy & (clock.value < SLOW_CLOCK * usual))
        if len(slowed) > THROTTLED_SHARE * n:
            yield clock.found(
                "throttling",
                f"{len(slowed)} of {n} readings of the busy board have a clock below "
                f"{SLOW_CLOCK:.0%} of its usual {usual / 1e6:.0f} MHz, down to "
                f"{float(clock.value[slowed].min()) / 1e6:.0f} MHz.",
                slowed,
                affected=len(slowed),
                of=n,
                value=100 * len(slowed) / n,
                unit="%",
            )


def _clocks(recording: str, clocks: pd.DataFrame, listed: pd.DataFrame) -> Iterator[Finding]:
    arrived = {
        row["source"]: json.loads(row["identity"] or "{}").get("arrival", True)
        for row in records(listed)
    }
    for row in records(clocks):
        if not row["accepted"]:
            yield finding(recording, "clock_not_proven", str(row["reason"]), source=row["source"])
            continue
        # Stamps of a device with arrivals count from its own start: any offset is fine.
        if row["clock"] != "device" or arrived.get(row["source"], True):
            continue
        offset_s = float(row["offset_ns"]) / NS_PER_S
        if abs(offset_s) < FAR_S:
            continue
        words = far.describe(int(row["offset_ns"]))
        zone = "time zone" in words
        yield finding(
            recording,
            "time_zone_shift" if zone else "clock_far_off",
            f"The clock of {row['source']} is {words}, by {row['method'].replace('_', ' ')} with "
            f"a confidence of {float(row['confidence']):.2f}.",
            source=row["source"],
            value=offset_s,
            unit="s",
        )


def _health(recording: str, health: pd.DataFrame | None) -> Iterator[Finding]:
    if health is None:
        return
    for row in records(health):
        if row["restarts"] > 0:
            hung = f", {row['hangs']} of them because it hung" if row["hangs"] else ""
            yield finding(
                recording,
                "source_restarted",
                f"{row['source']} was restarted {row['restarts']} time(s){hung}; its longest gap "
                f"is {row['longest_gap_s'] or 0:.1f} s.",
                source=str(row["source"]),
                affected=int(row["restarts"]),
            )


def _empty(recording: str, windows: pd.DataFrame, marks: pd.DataFrame) -> Iterator[Finding]:
    """Windows without length; those of marks are never cut, so the marks are looked at too."""
    bad = windows[windows["end_ns"] <= windows["start_ns"]]
    runs = {str(run) for run in bad["run_id"].dropna()}
    edges = marks[marks["kind"].isin(["run_begin", "run_end"])]
    for run, part in edges.groupby("run_id"):
        begin = part.loc[part["kind"] == "run_begin", "mono_ns"]
        end = part.loc[part["kind"] == "run_end", "mono_ns"]
        if len(begin) and len(end) and int(end.max()) <= int(begin.min()):
            runs.add(str(run))
    for run in sorted(runs):
        yield finding(
            recording,
            "empty_window",
            f"Run {run} ends when it begins, or before.",
            run_id=run,
        )


@dataclass
class _Session:
    """What is kept of the channels of a session when their readings are gone."""

    channels: list[Channel] = field(default_factory=list)
    bins: dict[float, dict[tuple[str, str], grid.Bins]] = field(
        default_factory=lambda: {grid.BIN_S: {}, grid.FINE_S: {}}
    )
    held: list[pairs.Hold] = field(default_factory=list)

    def add(self, channel: Channel) -> None:
        """Take a channel whose time is proven; only slow states are kept with their readings."""
        whole = channel.kind not in ("power", "energy")
        self.channels.append(channel if whole else channel.light())
        for step_s, found in self.bins.items():
            mean = grid.binned(channel, step_s)
            if mean is not None:
                found[channel.source, channel.name] = mean
        held = pairs.hold(channel)
        if held is not None:
            self.held.append(held)

    def findings(self, windows: pd.DataFrame) -> Iterator[Finding]:
        """Compare the channels."""
        levels, fine = (grid.joined(found, step_s) for step_s, found in self.bins.items())
        for check in (pairs.meter, pairs.swapped_devices, pairs.units):
            yield from check(self.channels, levels)
        yield from pairs.frozen(self.held, levels)
        yield from pairs.trailing_means(self.channels, fine)
        yield from _throttling(self.channels, windows)
        yield from _slow_clocks(self.channels, windows)


def inspect(
    samples: tables.SampleStore | pd.DataFrame,
    channels: pd.DataFrame,
    marks: pd.DataFrame,
    clocks: pd.DataFrame,
    windows: pd.DataFrame,
    health: pd.DataFrame | None = None,
    settings: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Look at one recording (or several of one file) and say what is wrong with it.

    Args:
        samples: Table ``samples``, as a store or a frame. A column t_ns (instant on the recording's
            clock, null where refused) is taken as it is; else `clocks` give the instants.
        channels: Table ``channels``.
        marks: Table ``marks``.
        clocks: Table ``clocks``.
        windows: Table ``windows``.
        health: Table ``health``; None for foreign logs.
        settings: Not used yet by any check.

    Returns:
        Table ``findings``.
    """
    found: list[Finding] = []
    for recording in channels["recording"].unique():
        mine = [t[t["recording"] == recording] for t in (channels, marks, clocks, windows)]
        own_channels, own_marks, own_clocks, own_windows = mine
        name = str(recording)
        sessions: dict[int, _Session] = {}
        for session, channel in each_channel(samples, own_channels, own_clocks):
            for check in series.CHECKS:
                found += check(channel)
            if _placed([channel], own_clocks, session):
                sessions.setdefault(session, _Session()).add(channel)
        for each in sessions.values():
            found += each.findings(own_windows)
        found += _clocks(name, own_clocks, own_channels)
        found += _empty(name, own_windows, own_marks)
        found += _health(name, health)
    return pd.DataFrame(found) if found else tables.empty("findings")
