"""A recording's slice of an archive: copied into its raw streams, on its own clock.

The measurement host and the recording host have two wall clocks and two monotonic ones, and the
meter may have a third. A reading comes with the archive host's stamps; the wall clocks, which NTP
keeps together within milliseconds (or seconds, where nobody cared), bring its time of arrival to
the recording's monotonic clock. That is only where `wattproof.clocks.align` begins to look: every
channel of the slice is on a *device* clock, the meter's own where it has one, else the archive
host's, and levels decide about it. Only where both ran on one machine, in one boot, the arrivals
are exact and the channels stay as the meter's driver described them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wattproof.archive import index, totals
from wattproof.archive.index import KILLED, LIVE
from wattproof.archive.tail import Tail
from wattproof.errors import WattproofError
from wattproof.recorder.streams import StreamWriter
from wattproof.sources.base import Channel, Description, Status
from wattproof.units import NS_PER_S, s_to_ns

Int64Array = NDArray[np.int64]
Progress = Callable[[str], None]

POLL_S = 1.0
"""How often an archive that has not caught up is looked at again."""
STEP_S = 0.1
"""Wall and monotonic clock may part by this much, or `STEP_PPM`, before it counts as a step."""
STEP_PPM = 500.0
EDGE_S = 1.0
"""A meter with slow cycles may end so much before the session does (or two of its periods)."""
BATCH_ROWS = 4096


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
class _Piece:
    """What one start of the archiving process holds of the slice."""

    description: dict[str, Any]
    tables: list[pa.Table] = field(default_factory=list)
    killed: bool = False


def fetch(
    streams: Path,
    settings: Mapping[str, Any],
    span: Span,
    progress: Progress,
    check: Callable[[], None] = lambda: None,
    partly: bool = False,
) -> None:
    """Copy the slice of a session into its raw streams, as if the meter had been read there.

    Args:
        streams: Folder ``streams`` of the session.
        settings: Settings of the driver ``archive``.
        span: The session.
        progress: Called with one line for people.
        check: Called now and then; raises to give up waiting.
        partly: Take what there is if the archive does not cover the session.

    Raises:
        WattproofError: If the archive is not there, or does not cover the session and `partly` is
            false; in one sentence. Nothing is left behind then.
    """
    archive = Path(settings["folder"])
    index.require(archive)
    margin_ns = s_to_ns(settings["margin_s"])
    ahead_ns = s_to_ns(settings["offset_s"])
    first_ns = span.begin.wall_ns - margin_ns + ahead_ns
    last_ns = span.end.wall_ns + margin_ns + ahead_ns
    _wait(archive, last_ns, float(settings["wait_s"]), progress, check)
    pieces = _collect(archive, first_ns, last_ns)
    lacking = _lacking(archive, pieces, span, ahead_ns)
    if lacking and not partly:
        raise WattproofError(lacking)
    streams.mkdir(parents=True, exist_ok=True)
    _stamp_all(pieces, span)
    # The first one last: where it is there, the slice is whole.
    for number, piece in reversed(list(enumerate(pieces))):
        _write(streams, number, piece, span, ahead_ns, archive, lacking)
    rows = sum(table.num_rows for piece in pieces for table in piece.tables)
    progress(f"{rows} readings of the meter come from the archive {archive}")


class Newest:
    """The newest reading of an archive; looked at again, it reads only what is new."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._tail: Tail | None = None
        self._wall_ns: int | None = None

    def wall_ns(self) -> int | None:
        """Return the wall clock (there) of the newest reading; None without any."""
        names = index.present(self._archive)
        for name in names[-1:] if self._wall_ns is not None else reversed(names):
            if self._tail is None or self._tail.path.name != name:
                self._tail = Tail(index.parts(self._archive) / name)
            rows = _read(self._tail)
            if rows is not None:
                newest = int(rows["wall_ns"].to_numpy().max())
                self._wall_ns = max(newest, self._wall_ns or newest)
                break
        return self._wall_ns


def _read(tail: Tail) -> pa.Table | None:
    try:
        return tail.read()
    except FileNotFoundError:  # removed by age just now
        return None


def _wait(
    archive: Path,
    until_wall_ns: int,
    limit_s: float,
    progress: Progress,
    check: Callable[[], None],
) -> None:
    """Wait until the archive has caught up, `limit_s` at most."""
    end = time.monotonic() + limit_s
    told = False
    newest = Newest(archive)
    while (newest.wall_ns() or 0) < until_wall_ns and time.monotonic() < end:
        if not told and time.monotonic() > end - limit_s + 2 * POLL_S:
            told = True
            progress(f"waiting for the archive {archive} to catch up ({limit_s:g} s at most)")
        check()
        time.sleep(min(POLL_S, max(0.0, end - time.monotonic())))


def _collect(archive: Path, first_ns: int, last_ns: int) -> list[_Piece]:
    """Return the rows between two instants of the archive host's wall clock."""
    known = {entry.file: entry for entry in index.load(archive)}
    pieces: list[_Piece] = []
    for name in index.present(archive):
        entry = known.get(name)
        if entry is not None and entry.state != LIVE:
            early = entry.last_wall_ns is None or entry.last_wall_ns < first_ns
            if early or (entry.first_wall_ns or 0) > last_ns:
                continue
        tail = Tail(index.parts(archive) / name)
        rows = _read(tail)
        if rows is None:
            continue
        wall = rows["wall_ns"].to_numpy()
        rows = rows.filter(pa.array((wall >= first_ns) & (wall <= last_ns)))
        if not rows.num_rows:
            continue
        if not pieces or pieces[-1].description != tail.description:
            pieces.append(_Piece(tail.description))
        pieces[-1].tables.append(rows)
        pieces[-1].killed |= entry is not None and entry.state == KILLED
    return pieces


def _lacking(archive: Path, pieces: Sequence[_Piece], span: Span, ahead_ns: int) -> str:
    """Say what part of the session the archive does not cover; empty if it covers all of it."""
    begin_ns, end_ns = span.begin.wall_ns + ahead_ns, span.end.wall_ns + ahead_ns
    wanted = f"{totals.utc(begin_ns)} to {totals.utc(end_ns)}"
    remedy = (
        "see that `wattproof meter` runs on the measurement host, that both clocks are right and "
        "that the folder is mounted or copied, then run this again (on_missing_source: continue "
        "goes on with what there is)"
    )
    if not pieces:
        newest = Newest(archive).wall_ns()
        until = "it is empty" if newest is None else f"its newest is of {totals.utc(newest)}"
        return f"The archive {archive} has no reading of {wanted} ({until}); {remedy}."
    walls = [table["wall_ns"].to_numpy() for piece in pieces for table in piece.tables]
    first_ns, last_ns = min(int(w.min()) for w in walls), max(int(w.max()) for w in walls)
    period_s = float(pieces[-1].description["identity"].get("archive", {}).get("period_s", 0.0))
    edge_ns = s_to_ns(max(EDGE_S, 2 * period_s))
    if first_ns <= begin_ns + edge_ns and last_ns >= end_ns - edge_ns:
        return ""
    return (
        f"The archive {archive} does not cover the session: it has {totals.utc(first_ns)} to "
        f"{totals.utc(last_ns)} of {wanted}; {remedy}."
    )


# ---------------------------------------------------------------------------- onto the recording


def _same_clock(piece: _Piece, span: Span) -> bool:
    about = piece.description["identity"].get("archive", {})
    return bool(span.boot_id) and about.get("boot_id") == span.boot_id


def _stamp_all(pieces: Sequence[_Piece], span: Span) -> None:
    """Give every reading a stamp by one clock that runs through each boot of the archive host."""
    ahead: dict[str, int] = {}  # wall less monotonic clock, once for each boot
    for piece in pieces:
        if _same_clock(piece, span):
            continue
        boot = str(piece.description["identity"].get("archive", {}).get("boot_id"))
        first = piece.tables[0]
        wall_ahead = int(first["wall_ns"].to_numpy()[0] - first["end_ns"].to_numpy()[0])
        rows = pa.concat_tables(piece.tables)
        channels = piece.description["channels"]
        piece.tables = [_device_stamps(rows, channels, ahead.setdefault(boot, wall_ahead))]


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


def _on_recording_time(rows: pa.Table, span: Span, ahead_ns: int) -> pa.Table:
    """Bring arrivals to the recording's clocks, row by row, by their wall clock."""
    wall, end = rows["wall_ns"].to_numpy(), rows["end_ns"].to_numpy()
    mono = span.to_mono(wall - ahead_ns)
    moved = {"end_ns": pa.array(mono), "wall_ns": pa.array(wall - ahead_ns)}
    for name in ("start_ns", "scheduled_ns"):
        column = rows[name]
        null = column.is_null().to_numpy()
        shifted = column.fill_null(0).to_numpy() - end + mono
        moved[name] = pa.array(shifted, pa.int64(), mask=null)
    for name, column in moved.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows


def _described(piece: _Piece, span: Span, archive: Path, same_clock: bool) -> Description:
    identity = dict(piece.description["identity"])
    about = {**identity.get("archive", {}), "folder": str(archive)}
    about["recording_clock_stepped_s"] = span.stepped_s()
    identity["archive"] = about
    channels = []
    for fields in piece.description["channels"]:
        facts = {**fields["identity"], "archived_by": about.get("host", "")}
        if not same_clock and fields["clock"] != "device":
            facts["stamps"] = "by the clock of the measurement host"
            fields = {**fields, "clock": "device"}
        channels.append(Channel(**{**fields, "identity": facts}))
    return Description(identity, tuple(channels), bool(piece.description["simulated"]))


def _write(
    streams: Path,
    number: int,
    piece: _Piece,
    span: Span,
    ahead_ns: int,
    archive: Path,
    lacking: str,
) -> None:
    """Write one stream and its health record, in the recorder's own form."""
    stem = "meter" if number == 0 else f"meter.{number}"
    about = piece.description["identity"].get("archive", {})
    same_clock = _same_clock(piece, span)
    rows = pa.concat_tables(piece.tables)
    if not same_clock:
        rows = _on_recording_time(rows, span, ahead_ns)
    description = _described(piece, span, archive, same_clock)
    temporary = streams / f".{stem}.arrows.part"
    temporary.unlink(missing_ok=True)
    writer = StreamWriter(temporary, description)
    order = ("channel", "scheduled_ns", "start_ns", "end_ns", "wall_ns", "device_ns", "value")
    for batch in rows.to_batches(max_chunksize=BATCH_ROWS):
        columns = [batch.column(name).to_pylist() for name in order]
        statuses = [Status(word) for word in batch.column("status").to_pylist()]
        writer.append(zip(*columns, statuses, strict=True))
        writer.flush()
    writer.close()
    outcome = "ok"
    if lacking:
        outcome = f"failed: {lacking}"
    elif piece.killed:
        outcome = "killed"
    ok = np.asarray(rows["status"].to_pylist()) == Status.OK.value
    counts = {"taken": rows.num_rows, "failed": int(np.count_nonzero(~ok)), "missed": 0}
    write_record(streams, stem, about, {**counts, "outcome": outcome})
    os.replace(temporary, streams / f"{stem}.arrows")


def write_record(
    streams: Path, stem: str, about: Mapping[str, Any], health: Mapping[str, Any]
) -> None:
    """Leave a health record beside a stream, or in the place of one that could not be had."""
    info = {
        "source": "meter",
        "pacing": about.get("pacing"),
        "period_s": about.get("period_s"),
        "health": dict(health),
    }
    temporary = streams / f".{stem}.json.part"
    temporary.write_text(json.dumps(info), encoding="utf-8")
    os.replace(temporary, streams / f"{stem}.json")
