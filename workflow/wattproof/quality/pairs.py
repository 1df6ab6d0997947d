"""Checks that compare channels of one session with each other, on one grid of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wattproof.quality.finding import Finding, finding
from wattproof.quality.grid import MIN_BINS, Grid, correlation, follows, spread
from wattproof.quality.series import Channel
from wattproof.units import NS_PER_S

F64Array = NDArray[np.float64]

ABSENT_R, PRESENT_R = 0.3, 0.8
"""Below the first correlation two channels do not follow each other, above the second they do."""

LIVELY_SHARE, LIVELY_W = 0.1, 5.0
"""What is compared has to vary by so much of the other one's level, and by so many watts."""

FACTORS = {
    1000.0: "as between W and mW, or J and mJ",
    3600.0: "as between Wh and J",
    3.6e6: "as between kWh and J",
    1e6: "as between J and µJ",
}
FACTOR_TOLERANCE = 0.15

FROZEN_S, FROZEN_PERIODS = 10.0, 50
MOVING_SHARE = 0.3
"""While a sensor is frozen another one moves by this share of what it moves altogether."""

TRAILING_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Lengths of trailing means that a series is compared with."""
TRAILING_GAIN = 0.02
TRAILING_R = 0.97


def _is_meter(channel: Channel) -> bool:
    return channel.name.startswith("node.") and channel.source not in ("codecarbon", "host")


def _series(channels: list[Channel], prefix: str, names: tuple[str, ...]) -> Channel | None:
    """The best channel of a device, by the order of `names`."""
    for name in names:
        for channel in channels:
            if channel.name == f"{prefix}.{name}" and channel.source != "smi":
                return channel
    return None


GPU_SERIES = ("power_instant", "energy", "power_average", "power_usage", "power")


def _devices(channels: list[Channel], kind: str) -> list[str]:
    found = {c.name.partition(".")[0] for c in channels}
    return sorted(name for name in found if name.startswith(kind) and name[len(kind) :].isdecimal())


def inside_w(channels: list[Channel], levels: Grid) -> F64Array | None:
    """What the node's own sensors see together: all GPUs and CPU packages; None without any."""
    parts = []
    for kind, names in (("gpu", GPU_SERIES), ("cpu", ("package",))):
        for device in _devices(channels, kind):
            best = _series(channels, device, names)
            if best is None:
                best = next((c for c in channels if c.name == f"{device}.power"), None)
            if best is not None and (best.source, best.name) in levels.level:
                parts.append(levels.level[best.source, best.name])
    return np.sum(parts, axis=0) if parts else None


def meter(channels: list[Channel], levels: Grid) -> Iterator[Finding]:
    """A meter that does not follow the node's own sensors."""
    inside = inside_w(channels, levels)
    if inside is None:
        return
    for channel in channels:
        if not _is_meter(channel) or channel.kind != "power":
            continue
        own = levels.level.get((channel.source, channel.name))
        if own is None or not np.isfinite(own).any():
            continue
        both = np.isfinite(own) & np.isfinite(inside)
        if both.sum() < MIN_BINS:
            continue
        lively = max(LIVELY_W, LIVELY_SHARE * float(np.median(np.abs(own[both]))))
        if spread(inside[both]) < lively:
            continue
        r, n = follows(own, inside)
        if np.isnan(r) or r < ABSENT_R:
            how = "constant" if np.isnan(r) else f"correlated with that by r = {r:.2f}"
            yield channel.found(
                "meter_elsewhere",
                f"Over {n} s the node's own sensors vary by {spread(inside[both]):.0f} W, and the "
                f"meter is {how}.",
                value=None if np.isnan(r) else r,
                unit="1",
            )


def swapped_devices(channels: list[Channel], levels: Grid) -> Iterator[Finding]:
    """Two sources whose GPUs are exchanged."""
    by_source: dict[str, dict[str, F64Array]] = {}
    for channel in channels:
        device, _, quantity = channel.name.partition(".")
        key = (channel.source, channel.name)
        if device.startswith("gpu") and quantity in GPU_SERIES and key in levels.level:
            by_source.setdefault(channel.source, {}).setdefault(device, levels.level[key])
    sources = sorted(by_source)
    for i, one in enumerate(sources):
        for two in sources[i + 1 :]:
            devices = sorted(set(by_source[one]) & set(by_source[two]))
            for k, a in enumerate(devices):
                for b in devices[k + 1 :]:
                    first, second = by_source[one], by_source[two]
                    own = [follows(first[d], second[d])[0] for d in (a, b)]
                    cross = [follows(first[x], second[y])[0] for x, y in ((a, b), (b, a))]
                    # A constant stream (nan) follows nothing, and nothing can be said of it.
                    told = np.isfinite([*own, *cross]).all()
                    if told and max(own) < ABSENT_R and min(cross) > PRESENT_R:
                        yield finding(
                            channels[0].recording,
                            "streams_swapped",
                            f"{a} of {one} follows {b} of {two} (r = {cross[0]:.2f}) and the other "
                            f"way round ({cross[1]:.2f}), but not its own ({own[0]:.2f}, "
                            f"{own[1]:.2f}).",
                            source=two,
                            channel=f"{a}, {b}",
                        )


def nearest_factor(ratio: float) -> tuple[float, str] | None:
    """The factor between units that a ratio is, if it is one."""
    if not np.isfinite(ratio) or ratio <= 0:
        return None
    size = max(ratio, 1 / ratio)
    for factor, words in FACTORS.items():
        if abs(size / factor - 1) <= FACTOR_TOLERANCE:
            return factor, words
    return None


def units(channels: list[Channel], levels: Grid) -> Iterator[Finding]:
    """Levels that differ by a factor of units from another channel of the device, or its limit."""
    said: set[tuple[str, str]] = set()
    by_device: dict[str, list[Channel]] = {}
    for channel in channels:
        # What a meter shows by phase or channel is a part of its total.
        if (channel.source, channel.name) in levels.level and channel.name.count(".") == 1:
            by_device.setdefault(channel.name.partition(".")[0], []).append(channel)
    for device, group in by_device.items():
        if device.startswith("cpu"):
            continue  # DRAM and package are different things
        mean = {
            c: float(np.nanmedian(levels.level[c.source, c.name]))
            for c in group
            if np.isfinite(levels.level[c.source, c.name]).any()
        }
        for channel, level in mean.items():
            others = [m for c, m in mean.items() if c is not channel and m > 0]
            if len(others) < 2 and channel.limit_w is None:
                # Of two that disagree either may be wrong; the one out of the physical goes first.
                others = others if level > 2e4 or level < 0.5 else []
            factor = nearest_factor(level / float(np.median(others))) if others else None
            limit = channel.limit_w
            if factor is None and limit is not None and level > 3 * limit:
                factor = (level / limit, f"beside a power limit of {limit:.0f} W")
            if factor is not None and (channel.source, channel.name) not in said:
                said.add((channel.source, channel.name))
                beside = f", others of the device {np.median(others):.4g} W" if others else ""
                yield channel.found(
                    "wrong_unit",
                    f"The level is {level:.4g} W{beside}: a factor of {factor[0]:g}, {factor[1]}.",
                    value=factor[0],
                    unit="1",
                )
    yield from _meter_unit(channels, levels)


def _meter_unit(channels: list[Channel], levels: Grid) -> Iterator[Finding]:
    inside = inside_w(channels, levels)
    if inside is None or not np.isfinite(inside).any():
        return
    for channel in channels:
        own = levels.level.get((channel.source, channel.name))
        if not _is_meter(channel) or own is None or not np.isfinite(own).any():
            continue
        ratio = float(np.nanmedian(own) / np.nanmedian(inside))
        # A node draws more than its GPUs and CPUs, and less than ten times as much.
        if ratio < 0.5 or ratio > 100:
            size = "factor of units" if nearest_factor(ratio) else "ratio"
            yield channel.found(
                "wrong_unit",
                f"The meter shows {float(np.nanmedian(own)):.4g} W, the node's own sensors "
                f"together {float(np.nanmedian(inside)):.4g} W: a {size} of {ratio:.3g}.",
                value=ratio,
                unit="1",
            )


@dataclass(frozen=True)
class Hold:
    """The longest stretch in which a channel repeats one value.

    Attributes:
        channel: Whose.
        value: The value.
        count: Readings of the stretch.
        of: Readings of the channel.
        start_ns: First reading of the stretch.
        end_ns: Last one.
    """

    channel: Channel
    value: float
    count: int
    of: int
    start_ns: int
    end_ns: int


def hold(channel: Channel) -> Hold | None:
    """The longest stretch of one value, if it is long enough to be odd."""
    value = channel.value
    if channel.kind != "power" or len(value) < 2 * FROZEN_PERIODS:
        return None
    change = np.flatnonzero(value[1:] != value[:-1]) + 1
    edges = np.concatenate(([0], change, [len(value)]))
    longest = int(np.argmax(np.diff(edges)))
    first, last = int(edges[longest]), int(edges[longest + 1]) - 1
    start, end = int(channel.t_ns[first]), int(channel.t_ns[last])
    short = last - first < FROZEN_PERIODS or (end - start) / NS_PER_S < FROZEN_S
    if short or not np.isfinite(value[first]):
        return None
    return Hold(channel.light(), float(value[first]), last - first + 1, len(value), start, end)


def frozen(held: list[Hold], levels: Grid) -> Iterator[Finding]:
    """A sensor that repeats one value while others move."""
    for each in held:
        channel = each.channel
        span_s = (each.end_ns - each.start_ns) / NS_PER_S
        a = (each.start_ns - levels.start_ns) // round(levels.step_s * NS_PER_S) + 1
        b = (each.end_ns - levels.start_ns) // round(levels.step_s * NS_PER_S)
        own = levels.level[channel.source, channel.name]
        for (source, name), other in levels.level.items():
            related = name.partition(".")[0] == channel.name.partition(".")[0] or _is_meter(channel)
            if source == channel.source or not related or b - a < 5:
                continue
            outside = np.concatenate((own[:a], own[b:])), np.concatenate((other[:a], other[b:]))
            r, _ = correlation(*outside)
            here, whole = spread(other[a:b]), spread(other)
            if r > PRESENT_R and here > max(MOVING_SHARE * whole, LIVELY_W):
                yield channel.found(
                    "frozen_sensor",
                    f"The sensor shows {each.value:g} W for {span_s:.1f} s, while {name} of "
                    f"{source} moves by {here:.0f} W.",
                    start_ns=each.start_ns,
                    end_ns=each.end_ns,
                    affected=each.count,
                    of=each.of,
                    value=span_s,
                    unit="s",
                )
                break


def _trailing(values: F64Array, count: int) -> F64Array:
    total = np.concatenate(([0.0], np.cumsum(np.nan_to_num(values))))
    known = np.concatenate(([0], np.cumsum(np.isfinite(values))))
    index = np.arange(len(values))
    low = np.maximum(index + 1 - count, 0)
    n = known[index + 1] - known[low]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 0, (total[index + 1] - total[low]) / n, np.nan)


def trailing_means(channels: list[Channel], fine: Grid) -> Iterator[Finding]:
    """A series that is the trailing mean of another one of its device."""
    for channel in channels:
        own = fine.level.get((channel.source, channel.name))
        if channel.kind != "power" or own is None or channel.source == "smi":
            continue
        device = channel.name.partition(".")[0]
        declared = max(float(channel.about.get("averaging_s") or 0.0), fine.step_s)
        best = _series(channels, device, ("power_samples", "power_instant", "energy"))
        other = None if best is None else fine.level.get((best.source, best.name))
        if best is None and _is_meter(channel):
            other = inside_w(channels, fine)
        if _is_meter(channel):
            other = inside_w(channels, fine)
        if other is None or best is channel:
            continue
        plain, n = correlation(own, _trailing(other, max(round(declared / fine.step_s), 1)))
        if np.isnan(plain) or n < 5 * MIN_BINS:
            continue
        scores = {
            s: correlation(own, _trailing(other, round(s / fine.step_s)))[0]
            for s in TRAILING_S
            if s >= 3 * declared
        }
        if not scores:
            continue
        length_s = max(scores, key=lambda s: scores[s])
        if scores[length_s] > TRAILING_R and scores[length_s] > plain + TRAILING_GAIN:
            yield channel.found(
                "running_average",
                f"The values follow the mean of the last {length_s:g} s of the device's other "
                f"readings (r = {scores[length_s]:.3f}) and not these themselves ({plain:.3f}).",
                value=length_s,
                unit="s",
            )
