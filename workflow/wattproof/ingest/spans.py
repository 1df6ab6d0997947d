"""What a log itself marks (runs, kernels, measured windows) as tables marks, runs and windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from wattproof import tables
from wattproof.ingest.base import Log
from wattproof.ingest.series import finding
from wattproof.units import ns_to_s


@dataclass(frozen=True, slots=True)
class Span:
    """A run that a log marks.

    Attributes:
        run_id: Its name, unique in the set.
        start_ns: Begin, on the recording's clock.
        end_ns: End (exclusive).
        setting: single or ddp.
        slot: Number of the GPU; None for the whole node.
    """

    run_id: str
    start_ns: int
    end_ns: int
    setting: str = "single"
    slot: int | None = None


def tables_of(log: Log, spans: Sequence[Span]) -> dict[str, pa.Table]:
    """Tables ``marks``, ``runs`` and ``windows``: one run window for each span."""
    marks, runs, windows = [], [], []
    for span in spans:
        common = {"recording": log.recording, "session": 0, "run_id": span.run_id}
        marks += [
            {**common, "kind": f"run_{edge}", "mono_ns": t_ns, "wall_ns": t_ns}
            for edge, t_ns in (("begin", span.start_ns), ("end", span.end_ns))
        ]
        runs.append(
            {
                **common,
                "setting": span.setting,
                "status": "ok",
                "reason": "",
                "duration_s": ns_to_s(span.end_ns - span.start_ns),
            }
        )
        windows.append(
            {
                **common,
                "window_id": f"{log.recording}/{span.run_id}",
                "level": "run",
                "kind": "run",
                "setting": span.setting,
                "slot": span.slot,
                "start_ns": span.start_ns,
                "end_ns": span.end_ns,
            }
        )
    return {
        "marks": tables.conform(marks, "marks"),
        "runs": tables.conform(runs, "runs"),
        "windows": tables.conform(windows, "windows"),
    }


def of_log(log: Log, spans: Sequence[Span], findings: list[dict[str, Any]]) -> dict[str, pa.Table]:
    """`tables_of` the marks of a log on the recording's clock.

    Marks on another clock place nothing before that clock is aligned: they are left out, and a
    finding says so.
    """
    if spans and not log.main:
        findings.append(
            finding(
                log,
                "marks_on_another_clock",
                f"{log.shown} marks {len(spans)} runs on the clock '{log.clock}', which is not the "
                "recording's, so they were left out.",
                "Make that clock the main one (main: true), or give 'windows' in the manifest.",
                severity="warning",
                affected=len(spans),
            )
        )
        spans = ()
    return tables_of(log, spans)
