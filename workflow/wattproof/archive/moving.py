"""From the clocks of the archive's host to those of the recording.

The measurement host and the recording host have two wall clocks and two monotonic ones, and the
meter may have a third. The wall clocks, which NTP keeps together within milliseconds (or seconds,
where nobody cared), bring a reading's time of arrival to the recording's monotonic clock. That is
only where `wattproof.clocks.align` begins to look: every channel is on a *device* clock, the
meter's own where it has one, else the archive host's, and levels decide about it. Only where both
ran on one machine, in one boot, arrivals are exact and channels stay as the driver described them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wattproof.units import NS_PER_S

Int64Array = NDArray[np.int64]

STEP_S = 0.1
"""Wall and monotonic clock may part by this much, or `STEP_PPM`, before it counts as a step."""
STEP_PPM = 500.0


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on the recording host's two clocks."""

    mono_ns: int
    wall_ns: int


@dataclass(frozen=True, slots=True)
class Span:
    """The session that a slice is for.

    Attributes:
        begin: Its begin.
        end: Its end.
        boot_id: Boot of the recording host; empty if unknown.
    """

    begin: Instant
    end: Instant
    boot_id: str = ""

    def stepped_s(self) -> float:
        """By how much the wall clock was set during the session; 0 if it was not."""
        mono = self.end.mono_ns - self.begin.mono_ns
        apart_s = ((self.end.wall_ns - self.begin.wall_ns) - mono) / NS_PER_S
        limit_s = STEP_S + STEP_PPM * 1e-6 * mono / NS_PER_S
        return apart_s if abs(apart_s) > limit_s else 0.0

    def to_mono(self, wall_ns: Int64Array) -> Int64Array:
        """Bring instants of the wall clock to the monotonic one, by the pairs of both ends."""
        since = wall_ns - self.begin.wall_ns
        wall = self.end.wall_ns - self.begin.wall_ns
        mono = self.end.mono_ns - self.begin.mono_ns
        if wall <= 0 or self.stepped_s():
            return self.begin.mono_ns + since
        correction = np.rint(since * ((mono - wall) / wall)).astype(np.int64)
        moved: Int64Array = self.begin.mono_ns + since + correction
        return moved


@dataclass(slots=True)
class Piece:
    """What one start of the archiving process holds of the slice."""

    description: dict[str, Any]
    tables: list[pa.Table] = field(default_factory=list)
    killed: bool = False


def same_clock(piece: Piece, span: Span) -> bool:
    """Whether the meter was read on the recording's own machine, in the same boot."""
    about = piece.description["identity"].get("archive", {})
    return bool(span.boot_id) and about.get("boot_id") == span.boot_id


def to_recording(pieces: Sequence[Piece], span: Span, ahead_ns: int) -> None:
    """Stamp every reading by one clock, and bring its arrival to the recording's clocks.

    Between two boots, wall and monotonic clock of a host part only when the wall clock is set.
    Their median distance tells where it was for most of the slice, whatever was set in between.
    """
    apart: dict[str, list[Int64Array]] = {}
    for piece in pieces:
        for table in piece.tables:
            distance = table["wall_ns"].to_numpy() - table["end_ns"].to_numpy()
            apart.setdefault(_boot(piece), []).append(distance)
    for piece in pieces:
        if same_clock(piece, span):
            continue
        distances = np.concatenate(apart[_boot(piece)])
        # Only differences become floats: instants of today lose 128 ns there.
        wall_ahead = int(distances[0]) + round(float(np.median(distances - distances[0])))
        rows = pa.concat_tables(piece.tables)
        rows = _device_stamps(rows, piece.description["channels"], wall_ahead)
        piece.tables = [_on_recording_time(rows, span, wall_ahead - ahead_ns)]


def _boot(piece: Piece) -> str:
    return str(piece.description["identity"].get("archive", {}).get("boot_id"))


def _device_stamps(
    rows: pa.Table, channels: Sequence[Mapping[str, Any]], wall_ahead_ns: int
) -> pa.Table:
    """Give a stamp to each row whose channel is not stamped by the meter itself.

    Where the meter stamps some of its channels, the others get the stamp that its clock had when
    they arrived, so that one clock holds for all. Otherwise it is the archive host's monotonic
    clock, which is never set, moved by `wall_ahead_ns` to where the wall clock once was.
    """
    own = [channel["name"] for channel in channels if channel["clock"] == "device"]
    names = np.asarray(rows["channel"].to_pylist())
    end, start = rows["end_ns"].to_numpy(), rows["start_ns"].to_numpy()
    stamped = np.isin(names, own)
    if stamped.all():
        return rows
    middle = start + (end - start) // 2
    device = rows["device_ns"]
    known = stamped & ~device.is_null().to_numpy()
    values = device.fill_null(0).to_numpy().copy()
    if np.count_nonzero(known) >= 2:
        at, stamps = end[known], values[known]
        order = np.argsort(at, kind="stable")
        at, stamps = at[order], stamps[order]
        late = np.interp(middle - at[0], at - at[0], (stamps - stamps[0]) - (at - at[0]))
        other = middle - at[0] + stamps[0] + np.rint(late).astype(np.int64)
    else:
        other = middle + wall_ahead_ns
    values[~stamped] = other[~stamped]
    empty = stamped & device.is_null().to_numpy()
    column = pa.array(values, pa.int64(), mask=empty)
    return rows.set_column(rows.schema.get_field_index("device_ns"), "device_ns", column)


def _on_recording_time(rows: pa.Table, span: Span, wall_ahead_ns: int) -> pa.Table:
    """Bring arrivals from the archive host's monotonic clock to the recording's clocks.

    Args:
        rows: Readings of the archive.
        span: The session.
        wall_ahead_ns: The *recording* host's wall clock is ahead of that monotonic clock by this.
    """
    end = rows["end_ns"].to_numpy()
    wall = end + wall_ahead_ns
    mono = span.to_mono(wall)
    moved = {"end_ns": pa.array(mono), "wall_ns": pa.array(wall)}
    for name in ("start_ns", "scheduled_ns"):
        column = rows[name]
        null = column.is_null().to_numpy()
        shifted = column.fill_null(0).to_numpy() - end + mono
        moved[name] = pa.array(shifted, pa.int64(), mask=null)
    for name, column in moved.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows
