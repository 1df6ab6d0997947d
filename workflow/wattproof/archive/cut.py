"""A recording's slice of an archive: copied into its raw streams, as the recorder writes them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from wattproof.archive import index, totals
from wattproof.archive.index import KILLED, LIVE
from wattproof.archive.moving import Piece, Span, same_clock, to_recording
from wattproof.archive.newest import Newest, read_if_there
from wattproof.archive.tail import Tail
from wattproof.errors import WattproofError
from wattproof.recorder.streams import StreamWriter
from wattproof.sources.base import Channel, Description, Status
from wattproof.units import s_to_ns

Progress = Callable[[str], None]

POLL_S = 1.0
"""How often an archive that has not caught up is looked at again."""
EDGE_S = 1.0
"""A meter with slow cycles may end so much before the session does (or two of its periods)."""
BATCH_ROWS = 4096


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
    to_recording(pieces, span, ahead_ns)
    # The first one last: where it is there, the slice is whole.
    for number, piece in reversed(list(enumerate(pieces))):
        _write(streams, number, piece, span, archive, lacking)
    rows = sum(table.num_rows for piece in pieces for table in piece.tables)
    progress(f"{rows} readings of the meter come from the archive {archive}")


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


def _collect(archive: Path, first_ns: int, last_ns: int) -> list[Piece]:
    """Return the rows between two instants of the archive host's wall clock."""
    known = {entry.file: entry for entry in index.load(archive)}
    pieces: list[Piece] = []
    for name in index.present(archive):
        entry = known.get(name)
        if entry is not None and entry.state != LIVE:
            early = entry.last_wall_ns is None or entry.last_wall_ns < first_ns
            if early or (entry.first_wall_ns or 0) > last_ns:
                continue
        tail = Tail(index.parts(archive) / name)
        rows = read_if_there(tail)
        if rows is None:
            continue
        wall = rows["wall_ns"].to_numpy()
        rows = rows.filter(pa.array((wall >= first_ns) & (wall <= last_ns)))
        if not rows.num_rows:
            continue
        if not pieces or pieces[-1].description != tail.description:
            pieces.append(Piece(tail.description))
        pieces[-1].tables.append(rows)
        pieces[-1].killed |= entry is not None and entry.state == KILLED
    return pieces


def _lacking(archive: Path, pieces: Sequence[Piece], span: Span, ahead_ns: int) -> str:
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


def _described(piece: Piece, span: Span, archive: Path) -> Description:
    identity = dict(piece.description["identity"])
    about = {**identity.get("archive", {}), "folder": str(archive)}
    about["recording_clock_stepped_s"] = span.stepped_s()
    identity["archive"] = about
    channels = []
    for fields in piece.description["channels"]:
        facts = {**fields["identity"], "archived_by": about.get("host", "")}
        if not same_clock(piece, span) and fields["clock"] != "device":
            facts["stamps"] = "by the clock of the measurement host"
            fields = {**fields, "clock": "device"}
        channels.append(Channel(**{**fields, "identity": facts}))
    return Description(identity, tuple(channels), bool(piece.description["simulated"]))


def _write(
    streams: Path,
    number: int,
    piece: Piece,
    span: Span,
    archive: Path,
    lacking: str,
) -> None:
    """Write one stream and its health record, in the recorder's own form."""
    stem = "meter" if number == 0 else f"meter.{number}"
    about = piece.description["identity"].get("archive", {})
    rows = pa.concat_tables(piece.tables)
    description = _described(piece, span, archive)
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
