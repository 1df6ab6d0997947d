"""What a recording does about a meter with the driver ``archive``.

Nothing is sampled while it runs; its end is noted; and before it is sealed, each session that has
no slice yet gets one, so that a slice which could not be had at once can be had by running the
workflow again. What is sealed once needs the archive no more.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wattproof.archive import cut, index, totals
from wattproof.archive.choice import split
from wattproof.archive.moving import Instant, Span
from wattproof.archive.newest import Newest
from wattproof.errors import WattproofError
from wattproof.recorder import read_stream
from wattproof.units import NS_PER_S

END_FILE = "ended.json"


def check(settings: Mapping[str, Any]) -> None:
    """See before any training that the archive is there and is being written.

    Raises:
        WattproofError: If not, in one sentence.
    """
    archive = Path(settings["folder"])
    index.require(archive)
    newest = Newest(archive).wall_ns()
    allowed_s = settings["wait_s"] + settings["margin_s"] + abs(settings["offset_s"])
    if newest is None or time.time_ns() - newest > allowed_s * NS_PER_S:
        what = "is empty" if newest is None else f"ends at {totals.utc(newest)}"
        raise WattproofError(
            f"The archive {archive} {what}; start `wattproof meter` on the measurement host, mount "
            "the folder or copy it more often, or raise key 'sources.meter.wait_s' above the time "
            "between two copies."
        )


@contextlib.contextmanager
def sliced(
    config: Mapping[str, Any],
    sessions: Callable[[], Sequence[Path]],
    to_sample: bool,
    progress: Callable[[str], None],
    check_stop: Callable[[], None],
) -> Iterator[dict[str, Mapping[str, Any]]]:
    """Frame a recording: its sources without an archived meter; at its end, the slices.

    Args:
        config: The complete campaign.
        sessions: Returns the folders of the recording's sessions so far.
        to_sample: Whether anything will be sampled: only then must the archive be there.
        progress: Called with one line for people.
        check_stop: Called now and then while waiting; raises to give up.

    Yields:
        The sources to sample.

    Raises:
        WattproofError: If the archive is not there or does not cover a session, and the campaign
            says to stop then. A recording that ends by an exception gets its slices next time.
    """
    live, settings = split(config["sources"])
    if settings is None:
        yield live
        return
    partly = config["on_missing_source"] == "continue"
    if to_sample and not partly:
        check(settings)
    before = set(sessions())
    try:
        yield live
    finally:
        for session in sessions():
            if session not in before:
                _mark_end(session)
    complete(sessions(), settings, partly, progress, check_stop)


def _mark_end(session: Path) -> None:
    """Note the end of a session on both clocks."""
    now = {"mono_ns": time.monotonic_ns(), "wall_ns": time.time_ns()}
    temporary = session / f".{END_FILE}.tmp"
    temporary.write_text(json.dumps(now), encoding="utf-8")
    os.replace(temporary, session / END_FILE)


def complete(
    sessions: Sequence[Path],
    settings: Mapping[str, Any],
    partly: bool,
    progress: Callable[[str], None],
    check_stop: Callable[[], None] = lambda: None,
) -> None:
    """Give each session that has none its slice of the archive.

    Args:
        sessions: Folders of the sessions.
        settings: Settings of the driver ``archive``.
        partly: Go on with what there is if the archive is not there or has too little.
        progress: Called with one line for people.
        check_stop: Called now and then while waiting; raises to give up.

    Raises:
        WattproofError: If the archive does not cover a session and `partly` is false.
    """
    for session in sessions:
        if (session / "session.json").exists():
            about = json.loads((session / "session.json").read_text(encoding="utf-8"))
            slice_for(session, about, settings, partly, progress, check_stop)


def slice_for(
    raw: Path,
    about: Mapping[str, Any],
    settings: Mapping[str, Any],
    partly: bool,
    progress: Callable[[str], None],
    check_stop: Callable[[], None] = lambda: None,
) -> None:
    """Give one folder of raw data its slice of the archive, unless it has one.

    Args:
        raw: Folder with ``streams/`` in it, and ``marks.jsonl`` if there are marks.
        about: Its begin on both clocks and its host's boot: mono_ns, wall_ns, boot_id.
        settings: Settings of the driver ``archive``.
        partly: Go on with what there is if the archive is not there or has too little.
        progress: Called with one line for people.
        check_stop: Called now and then while waiting; raises to give up.

    Raises:
        WattproofError: If the archive does not cover it and `partly` is false.
    """
    streams = raw / "streams"
    if (streams / "meter.arrows").exists():
        return
    try:
        cut.fetch(streams, settings, span_of(raw, about), progress, check_stop, partly)
    except WattproofError as error:
        if not partly:
            raise
        progress(str(error))
        streams.mkdir(parents=True, exist_ok=True)
        cut.write_record(streams, "meter", {}, {"outcome": f"failed: {error}"})


def span_of(raw: Path, about: Mapping[str, Any]) -> Span:
    """Return begin and end of a session; one that was killed ends with its last reading or mark."""
    begin = Instant(about["mono_ns"], about["wall_ns"])
    end = max((begin, *_instants(raw)), key=lambda instant: instant.mono_ns)
    return Span(begin, end, about.get("boot_id", ""))


def _instants(raw: Path) -> Iterator[Instant]:
    with contextlib.suppress(FileNotFoundError):
        told = json.loads((raw / END_FILE).read_text(encoding="utf-8"))
        yield Instant(told["mono_ns"], told["wall_ns"])
        return
    with contextlib.suppress(FileNotFoundError):
        for line in (raw / "marks.jsonl").read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # a torn last line
                mark = json.loads(line)
                yield Instant(mark["mono_ns"], mark["wall_ns"])
    for path in sorted((raw / "streams").glob("*.arrows")):
        rows, _, _ = read_stream(path)
        if rows.num_rows:
            last = rows.slice(rows.num_rows - 1).to_pylist()[0]
            yield Instant(last["end_ns"], last["wall_ns"])
