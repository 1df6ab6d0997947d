"""Folders of MLPerf Inference power runs: meter log, loadgen log, messages of both machines.

The system under test (client) writes ``mlperf_log_detail.txt``; the machine with the meter (server,
"director") writes ``spl.txt``. Their clocks differ, and the stamps of spl.txt are local time of a
zone that ``timezone`` of the JSON files does not tell reliably. Both machines stamped the messages
that they exchanged: these give the whole hours and the rest.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.ingest import mllog, ptdaemon_log, rules, text, timing
from wattproof.ingest import series as made
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.series import finding
from wattproof.units import NS_PER_S, ns_to_s

SOURCE, CHANNEL = "ptdaemon", "node.ac"

SETTINGS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "phase": {"enum": ["testing", "ranging"], "default": "testing"},
        "published_mean_w": {"type": ["number", "null"], "default": None},
    },
}

ZONE_S = 900
MOST_ZONES = 104
"""Time zones differ from UTC by whole quarters of an hour, up to 26 h between two of them."""

EDGE_S = 30.0
"""The meter's log may begin and end this long outside the phase that the server noted."""


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(text.read_text(path))
    except ValueError as error:
        raise WattproofError(f"{path} is not readable as JSON ({error}); restore it.") from error
    if not isinstance(document, dict) or not isinstance(document.get("messages"), list):
        raise WattproofError(f"{path} holds no messages of a power run; restore it.")
    return document


def _ns(seconds: float) -> int:
    # Seconds since 1970 as a double are good to a quarter of a microsecond.
    return round(seconds * 1e6) * 1000


def exchanges(
    client: dict[str, Any], server: dict[str, Any], recording: str
) -> list[dict[str, Any]]:
    """Rows of table ``exchanges`` of the messages that both machines stamped.

    The client stamped a command before it was sent and when the answer was there; the server
    stamped it when it came and when it answered, in between.
    """
    found = []
    for ours, theirs in zip(client["messages"], server["messages"], strict=False):
        if ours.get("cmd") != theirs.get("cmd"):
            continue
        for stamp in ("cmd_time", "reply_time"):
            if all(k in m for m in (ours, theirs) for k in ("cmd_time", "reply_time")):
                found.append(
                    {
                        "recording": recording,
                        "session": 0,
                        "source": SOURCE,
                        "sent_ns": _ns(ours["cmd_time"]),
                        "device_ns": _ns(theirs[stamp]),
                        "received_ns": _ns(ours["reply_time"]),
                    }
                )
    return found


def zone_of(stamps_ns: np.ndarray, begin_ns: int, end_ns: int, where: str) -> int:
    """Quarters of an hour by which local stamps are ahead of the server's epochs.

    Raises:
        WattproofError: No zone puts the log into the phase, or several do.
    """
    edge = round(EDGE_S * NS_PER_S)
    fits = [
        quarters
        for quarters in range(-MOST_ZONES, MOST_ZONES + 1)
        if (stamps_ns[0] - quarters * ZONE_S * NS_PER_S >= begin_ns - edge)
        and (stamps_ns[-1] - quarters * ZONE_S * NS_PER_S <= end_ns + edge)
    ]
    if len(fits) != 1:
        what = "no time zone puts" if not fits else f"{len(fits)} time zones put"
        raise WattproofError(
            f"{where}: {what} the log into the phase that server.json notes; give the logs of one "
            "session."
        )
    return fits[0]


def _edges(path: Path) -> tuple[int, int]:
    """power_begin and power_end, which loadgen writes as UTC."""
    log = mllog.read(path)
    found: dict[str, str] = {}
    for line in text.read_text(path).splitlines():
        # time_ms of loadgen is a float since its start, so the strict parser refuses these lines.
        if '"power_begin"' in line or '"power_end"' in line:
            _, _, body = line.partition(mllog.MARK)
            try:
                document = json.loads(body)
            except ValueError:
                continue
            found[str(document.get("key"))] = str(document.get("value"))
    del log
    lacking = [key for key in ("power_begin", "power_end") if key not in found]
    if lacking:
        raise WattproofError(f"{path} has no {' and no '.join(lacking)}; give a power run's log.")
    stamps = timing.parse(
        pd.Series([found["power_begin"], found["power_end"]]),
        str(path),
        time_format=ptdaemon_log.FORMAT,
        time_zone="UTC",
    )
    begin, end = (int(t) for t in stamps.t_ns)
    if not stamps.known.all() or end <= begin:
        raise WattproofError(f"{path}: power_begin and power_end are no interval; restore it.")
    return begin, end


def read(log: Log) -> Ingested:
    """Read the folder of one power run.

    Raises:
        WattproofError: A file is missing or contradicts the others; one sentence.
    """
    root, name = log.path, log.recording
    if not root.is_dir():
        raise WattproofError(f"{root} is no folder; give the folder of a power run.")
    needed = ("spl.txt", "mlperf_log_detail.txt", "client.json", "server.json")
    lacking = [file for file in needed if not (root / file).is_file()]
    if lacking:
        raise WattproofError(f"{root} lacks {', '.join(lacking)}; give a whole power run.")
    client, server = _json(root / "client.json"), _json(root / "server.json")
    spl = ptdaemon_log.parse(root / "spl.txt")
    begin_ns, end_ns = _edges(root / "mlperf_log_detail.txt")
    stamps = timing.parse(
        spl.stamps, f"{root / 'spl.txt'}", time_format=ptdaemon_log.FORMAT, time_zone="UTC"
    )
    phase = server.get("phases", {}).get(log.settings["phase"])
    if not phase:
        raise WattproofError(
            f"{root / 'server.json'} notes no phase '{log.settings['phase']}'; restore it."
        )
    keep = stamps.known & spl.marks.str.endswith(log.settings["phase"]).to_numpy(dtype=bool)
    if not keep.any():
        raise WattproofError(f"{root / 'spl.txt'} has no line of phase {log.settings['phase']}.")
    logged = stamps.t_ns[keep]
    quarters = zone_of(np.sort(logged), _ns(phase[0][0]), _ns(phase[-1][0]), str(root / "spl.txt"))
    # From here on the stamps count from the epoch by the server's clock.
    t_ns = stamps.t_ns - quarters * ZONE_S * NS_PER_S
    part = Log(name, log.path, log.shown, {"model": ""}, "server", main=False)
    found = ptdaemon_log.power_series(part, spl, t_ns, keep, SOURCE, CHANNEL)
    east_h = quarters * ZONE_S / 3600
    stated = {machine: j.get("timezone") for machine, j in (("client", client), ("server", server))}
    findings = [
        finding(
            log,
            "inferred_time_zone",
            f"The stamps of spl.txt are {east_h:+g} h from the epochs that client and server "
            f"exchanged; the field timezone says {stated['server']} s (server) and "
            f"{stated['client']} s (client) and was not used.",
            "None: the epochs are unambiguous.",
            value=east_h,
            unit="h",
        ),
        *ptdaemon_log.broken_lines(log, spl),
    ]
    common = {"recording": name, "session": 0, "run_id": name}
    marks = [
        {**common, "kind": kind, "mono_ns": t, "wall_ns": t}
        for kind, t in (("run_begin", begin_ns), ("run_end", end_ns))
    ]
    duration_s = ns_to_s(end_ns - begin_ns)
    published = log.settings["published_mean_w"]
    if published is not None:
        total = spl.watts[0]
        good = keep & np.isfinite(total)
        mean_w, readings = rules.mlperf_inference_mean_w(t_ns[good], total[good], begin_ns, end_ns)
        off_w = published - mean_w
        same = abs(off_w) <= rules.MLPERF_INFERENCE_TOLERANCE_W
        findings.append(
            finding(
                log,
                "published_reproduced" if same else "published_not_reproduced",
                f"The rule of MLPerf Inference (mean of the {readings} readings between "
                f"power_begin and power_end) gives {mean_w:.3f} W, "
                f"published are {published:.3f} W.",
                "None." if same else "Ask the submitter which log the figure was made from.",
                severity="note" if same else "error",
                value=off_w,
                unit="W",
                source=SOURCE,
                channel=CHANNEL,
                run_id=name,
            )
        )
    return Ingested(
        samples=made.samples(part, found),
        channels=made.channels(part, found),
        marks=tables.conform(marks, "marks"),
        runs=tables.conform(
            [
                {
                    **common,
                    "setting": "ddp",
                    "status": "ok",
                    "reason": "",
                    "duration_s": duration_s,
                }
            ],
            "runs",
        ),
        windows=tables.conform(
            [
                {
                    **common,
                    "window_id": f"{name}/run",
                    "level": "run",
                    "kind": "run",
                    "setting": "ddp",
                    "start_ns": begin_ns,
                    "end_ns": end_ns,
                }
            ],
            "windows",
        ),
        exchanges=tables.conform(exchanges(client, server, name), "exchanges"),
        findings=tables.conform(findings, "findings"),
        instruments={SOURCE: {"what": "wall power by SPEC PTDaemon", "folder": log.shown}},
        extra={"clock": "the client's (system under test), nanoseconds since the epoch"},
    )


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a folder is a power run of MLPerf Inference."""
    return 1.0 if (path / "spl.txt").is_file() and (path / "client.json").is_file() else 0.0


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows."""
    return {"published_mean_w": None}
