"""Clocks of an MLPerf Inference power run: messages, phases, and time zones found from them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof.errors import WattproofError
from wattproof.ingest import text
from wattproof.units import NS_PER_S

SOURCE = "ptdaemon"

ZONE_S = 900
MOST_ZONES = 104
"""Time zones differ from UTC by whole quarters of an hour, up to 26 h between two of them."""

EDGE_S = 30.0
"""A log may begin and end this long outside the phase that its machine noted."""


def read_json(path: Path) -> dict[str, Any]:
    """Read client.json or server.json.

    Raises:
        WattproofError: The file is unreadable or holds no messages.
    """
    try:
        document = json.loads(text.read_text(path))
    except ValueError as error:
        raise WattproofError(f"{path} is not readable as JSON ({error}); restore it.") from error
    messages = document.get("messages") if isinstance(document, dict) else None
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise WattproofError(f"{path} holds no messages of a power run; restore it.")
    found: dict[str, Any] = document
    return found


def _ns(seconds: float) -> int:
    # Seconds since 1970 as a double are good to a quarter of a microsecond.
    return round(seconds * 1e6) * 1000


def _pairs(
    client: dict[str, Any], server: dict[str, Any]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Messages as both machines noted them; one that only one of them noted has no partner."""

    def stamped(message: dict[str, Any]) -> bool:
        times = [message.get(k) for k in ("cmd_time", "reply_time")]
        return all(isinstance(t, int | float) and math.isfinite(t) for t in times)

    found = []
    rest = list(server["messages"])
    for ours in client["messages"]:
        at = next((i for i, m in enumerate(rest) if m.get("cmd") == ours.get("cmd")), None)
        if at is None:
            continue
        theirs, rest = rest[at], rest[at + 1 :]
        if stamped(ours) and stamped(theirs):
            found.append((ours, theirs))
    return found


def exchanges(
    client: dict[str, Any], server: dict[str, Any], recording: str
) -> list[dict[str, Any]]:
    """Rows of table ``exchanges`` of the messages that both machines stamped.

    The client stamped a command before it was sent and when the answer was there; the server
    stamped it when it came and when it answered, in between.
    """
    return [
        {
            "recording": recording,
            "session": 0,
            "source": SOURCE,
            "sent_ns": _ns(ours["cmd_time"]),
            "device_ns": _ns(theirs[stamp]),
            "received_ns": _ns(ours["reply_time"]),
        }
        for ours, theirs in _pairs(client, server)
        for stamp in ("cmd_time", "reply_time")
    ]


def phase_ns(document: dict[str, Any], phase: str, path: Path) -> tuple[int, int]:
    """Begin and end of a phase, by the machine's own clock."""
    try:
        instants = document["phases"][phase]
        begin, end = _ns(float(instants[0][0])), _ns(float(instants[-1][0]))
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise WattproofError(f"{path} notes no phase '{phase}'; restore it.") from error
    return begin, end


def zone_of(stamps_ns: NDArray[np.int64], phase: tuple[int, int], where: str) -> int:
    """Quarters of an hour by which local stamps are ahead of their machine's epochs.

    Args:
        stamps_ns: Local stamps, read as UTC.
        phase: Begin and end of the phase that they are from, since the epoch.
        where: File, for messages.

    Raises:
        WattproofError: No zone puts the stamps into the phase, or several do.
    """
    edge = round(EDGE_S * NS_PER_S)
    first, last = int(stamps_ns.min()), int(stamps_ns.max())
    fits = [
        quarters
        for quarters in range(-MOST_ZONES, MOST_ZONES + 1)
        if first - quarters * ZONE_S * NS_PER_S >= phase[0] - edge
        and last - quarters * ZONE_S * NS_PER_S <= phase[1] + edge
    ]
    if len(fits) != 1:
        what = "no time zone puts" if not fits else f"{len(fits)} time zones put"
        raise WattproofError(
            f"{where}: {what} its stamps into the phase that its machine noted in JSON; give the "
            "logs of one session."
        )
    return fits[0]
