"""Folders of MLPerf Inference power runs: meter log, loadgen log, messages of both machines.

The system under test (client) writes ``mlperf_log_detail.txt``; the machine with the meter (server,
"director") writes ``spl.txt``. Their clocks differ, and both logs hold local times of zones that
``timezone`` of the JSON files does not tell reliably. Both machines stamped the messages that they
exchanged, and noted the phases of the run, in seconds since 1970: the phases give each log's time
zone (whole quarters of an hour), the messages the rest.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.ingest import mllog, ptdaemon_log, published, rules, spans, text, timing
from wattproof.ingest import series as made
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.mlperf_clocks import SOURCE, ZONE_S, exchanges, phase_ns, read_json, zone_of
from wattproof.ingest.series import finding
from wattproof.ingest.spans import Span
from wattproof.units import NS_PER_S, ns_to_s

CHANNEL = "node.ac"

SETTINGS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "phase": {"enum": ["testing", "ranging"], "default": "testing"},
        "published_mean_w": {"type": ["number", "null"], "exclusiveMinimum": 0, "default": None},
    },
}

_NEEDED = ("spl.txt", "mlperf_log_detail.txt", "client.json", "server.json")


def edges(path: Path) -> NDArray[np.int64]:
    """power_begin and power_end as loadgen writes them: local times, read as UTC, shape (2,).

    Raises:
        WattproofError: The log has no such marks.
    """
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
    lacking = [key for key in ("power_begin", "power_end") if key not in found]
    if lacking:
        raise WattproofError(f"{path} has no {' and no '.join(lacking)}; give a power run's log.")
    stamps = timing.parse(
        pd.Series([found["power_begin"], found["power_end"]]),
        str(path),
        time_format=ptdaemon_log.FORMAT,
        time_zone="UTC",
    )
    if not stamps.known.all() or stamps.t_ns[1] <= stamps.t_ns[0]:
        raise WattproofError(f"{path}: power_begin and power_end are no interval; restore it.")
    return stamps.t_ns


def _meter(server: dict[str, Any]) -> dict[str, Any]:
    """What PTDaemon said about itself, and the period that it was asked for."""
    found: dict[str, Any] = {}
    for message in server.get("ptd_messages") or ():
        if not isinstance(message, dict):
            continue
        if message.get("cmd") == "Identify":
            found["identify"] = str(message.get("reply", ""))
            maker = re.search(r"([^,;]+);([^,;]+);([^,;]+);([^,;]+)$", found["identify"])
            if maker:
                found |= {"model": f"{maker[1]} {maker[2]}", "serial": maker[3]}
        period = re.match(r"Go,(\d+),", str(message.get("cmd", "")))
        if period:
            found["period_s"] = int(period[1]) / 1000
    return found


def _zones(
    log: Log, spl_zone: int, loadgen_zone: int, stated: dict[str, Any]
) -> list[dict[str, Any]]:
    found = []
    for file, machine, quarters in (
        ("spl.txt", "server", spl_zone),
        ("mlperf_log_detail.txt", "client", loadgen_zone),
    ):
        east_h = quarters * ZONE_S / 3600
        found.append(
            finding(
                log,
                "inferred_time_zone",
                f"The stamps of {file} are {east_h:+g} h from the epochs that the {machine} noted; "
                f"its JSON's field timezone ({stated[machine]} s) was not used.",
                "None: the epochs are unambiguous.",
                value=east_h,
                unit="h",
                source=SOURCE if machine == "server" else "",
            )
        )
    return found


def _read(log: Log) -> tuple[Ingested, list[dict[str, Any]]]:
    """Tables and rows of table ``published``."""
    root, name, phase = log.path, log.recording, log.settings["phase"]
    if not root.is_dir():
        raise WattproofError(f"{root} is no folder; give the folder of a power run.")
    lacking = [file for file in _NEEDED if not (root / file).is_file()]
    if lacking:
        raise WattproofError(f"{root} lacks {', '.join(lacking)}; give a whole power run.")
    if not log.main:
        raise WattproofError(
            f"{root}: a power run brings the clock of its own machine; say main: true with it, or "
            "give it a set of its own."
        )
    client, server = read_json(root / "client.json"), read_json(root / "server.json")
    spl = ptdaemon_log.parse(root / "spl.txt")
    local = edges(root / "mlperf_log_detail.txt")
    stamps = timing.parse(
        spl.stamps, f"{root / 'spl.txt'}", time_format=ptdaemon_log.FORMAT, time_zone="UTC"
    )
    keep = stamps.known & spl.marks.str.endswith(phase).to_numpy(dtype=bool)
    if not keep.any():
        raise WattproofError(f"{root / 'spl.txt'} has no line of the phase {phase}; restore it.")
    spl_zone = zone_of(
        stamps.t_ns[keep], phase_ns(server, phase, root / "server.json"), str(root / "spl.txt")
    )
    loadgen_zone = zone_of(
        local,
        phase_ns(client, phase, root / "client.json"),
        str(root / "mlperf_log_detail.txt"),
    )
    # From here on all stamps count from the epoch: the meter's by the server's clock, begin and
    # end by the client's.
    t_ns = stamps.t_ns - spl_zone * ZONE_S * NS_PER_S
    begin_ns, end_ns = (int(t) - loadgen_zone * ZONE_S * NS_PER_S for t in local)
    meter = _meter(server)
    part = Log(name, log.path, log.shown, {"model": meter.get("model", "")}, "server", main=False)
    found = ptdaemon_log.power_series(
        part, spl, t_ns, keep, SOURCE, CHANNEL, averaging_s=meter.get("period_s"), identity=meter
    )
    stated = {machine: j.get("timezone") for machine, j in (("client", client), ("server", server))}
    findings = [
        *_zones(log, spl_zone, loadgen_zone, stated),
        *ptdaemon_log.broken_lines(log, spl, stamps.known),
    ]
    figures = _published(log, t_ns[keep], spl.watts[0][keep], begin_ns, end_ns)
    if figures:
        figure = log.settings["published_mean_w"]
        findings += published.findings(
            log,
            pd.DataFrame(figures),
            tolerance=rules.MLPERF_INFERENCE_TOLERANCE_W / figure,
        )
    return (
        Ingested(
            samples=made.samples(part, found),
            channels=made.channels(part, found),
            **spans.tables_of(log, [Span(name, begin_ns, end_ns, setting="ddp")]),
            exchanges=tables.conform(exchanges(client, server, name), "exchanges"),
            findings=tables.conform(findings, "findings"),
            instruments={SOURCE: {**meter, "what": "wall power", "folder": log.shown}},
            extra={"clock": "the client's (system under test), nanoseconds since the epoch"},
        ),
        figures,
    )


def _published(
    log: Log,
    t_ns: NDArray[np.int64],
    watts: NDArray[np.float64],
    begin_ns: int,
    end_ns: int,
) -> list[dict[str, Any]]:
    figure = log.settings["published_mean_w"]
    if figure is None:
        return []
    good = np.isfinite(watts)
    try:
        mean_w, _ = rules.mlperf_inference_mean_w(t_ns[good], watts[good], begin_ns, end_ns)
    except WattproofError as error:
        raise WattproofError(f"{log.path / 'spl.txt'}: {error}") from error
    return [
        {
            "dataset": "mlperf_inference",
            "benchmark": log.recording,
            "channel": CHANNEL,
            "runs": 1,
            "rule": rules.MLPERF_INFERENCE,
            "published_j": None,
            "recomputed_j": mean_w * ns_to_s(end_ns - begin_ns),
            "integrated_j": rules.trapezoid_j(
                t_ns[good], watts[good], begin_ns, end_ns, max_edge_ns=2 * NS_PER_S
            ),
            "relative_difference": (figure - mean_w) / figure,
            "published_w": figure,
            "recomputed_w": mean_w,
        }
    ]


def read(log: Log) -> Ingested:
    """Read the folder of one power run.

    Raises:
        WattproofError: A file is missing or contradicts the others; one sentence.
    """
    return _read(log)[0]


def published_rows(log: Log) -> list[dict[str, Any]]:
    """Rows of table ``published``; none where the manifest gives no figure."""
    return _read(log)[1]


def sniff(path: Path, head: bytes) -> float:
    """How sure it is that a folder is a power run of MLPerf Inference."""
    return 1.0 if (path / "spl.txt").is_file() and (path / "client.json").is_file() else 0.0


def draft(path: Path) -> dict[str, Any]:
    """Settings that a drafted manifest shows."""
    return {"published_mean_w": None}
