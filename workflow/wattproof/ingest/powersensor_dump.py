"""Dump files of PowerSensor3: every reading of the device, 20,000 a second.

``marker time dt_micro device_timestamp current0 voltage0 power0 … power_total`` and lines like
``S 0.0512 50 123 1.2 12.0 14.4 14.4``. The S is replaced by the program's own mark; older versions
write lines ``M A`` instead, and ``M begin end tag "name"`` for a stretch
(nlesc-recruit/PowerSensor3, host/src/PowerSensor.cc). ``time`` counts from the start of the program
and has six digits only; ``dt_micro`` is the step in whole microseconds, cut off, so it runs short
by about 1 %.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.ingest import series as made
from wattproof.ingest import spans, timing
from wattproof.ingest.base import Ingested, Log
from wattproof.ingest.series import Series, finding
from wattproof.ingest.spans import Span
from wattproof.units import NS_PER_S, s_to_ns

HEAD = "marker time"

F64Array = NDArray[np.float64]

_NUMBER = r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)"
_STRETCH = re.compile(rf'^M\s+{_NUMBER}\s+{_NUMBER}\s+\S+\s+"([^"]*)"')


@dataclass
class _Dump:
    names: list[str]
    rows: list[list[float]] = field(default_factory=list)
    marks: list[tuple[str, int]] = field(default_factory=list)
    """Mark, and the number of the reading that it stands at."""
    stretches: list[tuple[float, float, str]] = field(default_factory=list)
    broken: int = 0


def _parse(lines: list[str]) -> _Dump:
    found = _Dump(lines[0].split()[1:])
    for line in lines[1:]:
        words = line.split()
        if not words:
            continue
        stretch = _STRETCH.match(line)
        if stretch:
            found.stretches.append((float(stretch[1]), float(stretch[2]), stretch[3]))
        elif words[0] == "M" and len(words) == 2:
            found.marks.append((words[1], len(found.rows)))
        elif len(words) == len(found.names) + 1:
            try:
                row = [float(word) for word in words[1:]]
            except ValueError:
                found.broken += 1
                continue
            if words[0] != "S":
                found.marks.append((words[0], len(found.rows)))
            found.rows.append(row)
        else:
            found.broken += 1
    return found


def seconds(time_s: F64Array, step_us: F64Array) -> F64Array:
    """Instants from rounded times and steps that were cut off: the steps, stretched to the times.

    Args:
        time_s: Seconds with six digits, shape (n,).
        step_us: Microseconds since the previous reading, cut off to whole ones, shape (n,).
    """
    run = np.cumsum(step_us) - step_us[0]
    if len(run) < 2 or run[-1] <= 0:
        return time_s
    stretch = (time_s[-1] - time_s[0]) * 1e6 / run[-1]
    # Far from 1 there is another reason than digits that were cut off.
    if not 0.98 <= stretch <= 1.05:
        return time_s
    return np.asarray(time_s[0] + run * stretch / 1e6, dtype=np.float64)


def _spans(log: Log, dump: _Dump, t_ns: NDArray[np.int64], start_ns: int) -> list[Span]:
    """Stretches that the program named, else the time from each mark to the next."""
    if dump.stretches:
        taken: dict[str, int] = {}
        found = []
        for begin_s, end_s, name in dump.stretches:
            taken[name] = taken.get(name, 0) + 1
            run_id = name if taken[name] == 1 else f"{name}-{taken[name]}"
            begin, end = (start_ns + s_to_ns(s) for s in (begin_s, end_s))
            found.append(Span(run_id, begin, end, slot=log.settings["gpu"]))
        return found
    marks = [(name, int(t_ns[min(at, len(t_ns) - 1)])) for name, at in dump.marks]
    return [
        Span(f"{one}{number}-{two}", begin, end, slot=log.settings["gpu"])
        for number, ((one, begin), (two, end)) in enumerate(pairwise(marks), 1)
        if end > begin
    ]


def read(log: Log, lines: list[str]) -> Ingested:
    """Read a dump file.

    Args:
        log: The log, with the settings of format pmt_text.
        lines: Its lines; the first is the heading.

    Raises:
        WattproofError: It has no reading, or not the columns of a dump.
    """
    dump = _parse(lines)
    at = {name: i for i, name in enumerate(dump.names)}
    lacking = [name for name in ("time", "dt_micro", "power_total") if name not in at]
    if lacking:
        raise WattproofError(
            f"{log.path} is no dump of PowerSensor3: its heading lacks {', '.join(lacking)}."
        )
    if not dump.rows:
        raise WattproofError(f"{log.path} holds no line of readings; restore the file.")
    values = np.array(dump.rows, dtype=np.float64)
    findings: list[dict[str, Any]] = []
    total = dump.broken + len(dump.rows)
    findings += made.left_out(
        log,
        dump.broken,
        total,
        f"{dump.broken} of {total} lines could not be read and were left out.",
    )
    start_ns = 0
    if log.settings["start"] is None:
        findings.append(
            finding(
                log,
                "no_start",
                "A dump counts from the start of its program and does not say when that was; its "
                "clock begins at 0.",
                "Give 'start' where the log is compared with another one.",
            )
        )
    else:
        start_ns = timing.instant_ns(log.settings["start"], f"{log.path}, key 'start'")
    t_s = seconds(values[:, at["time"]], values[:, at["dt_micro"]])
    t_ns = start_ns + np.rint(t_s * NS_PER_S).astype(np.int64)
    source, gpu = log.settings["source"], log.settings["gpu"]
    found = [
        Series(
            source,
            f"gpu{gpu}.power" if name == "power_total" else f"gpu{gpu}.power_pair{name[5:]}",
            "W",
            "power",
            t_ns,
            values[:, i],
            device=f"gpu{gpu}",
            slot=gpu,
            identity={"column": name, "format": "PowerSensor3 dump"},
        )
        for name, i in at.items()
        if re.fullmatch(r"power(_total|\d+)", name)
    ]
    marked = spans.of_log(log, _spans(log, dump, t_ns, start_ns), findings)
    return Ingested(
        samples=made.samples(log, found),
        channels=made.channels(log, found),
        findings=tables.conform(findings, "findings"),
        instruments={source: {"tool": "PowerSensor3", "file": log.shown}},
        **marked,
    )
