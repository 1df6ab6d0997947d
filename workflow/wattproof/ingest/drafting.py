"""Draft a manifest of some logs: what was recognised, and what only the user can say."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wattproof import ingest
from wattproof.errors import WattproofError
from wattproof.ingest import text

LEAST = 0.1
"""Formats that a file is less likely to have are not proposed."""

UNKNOWN_ORIGIN = "unknown: state who recorded this, and how"
UNKNOWN_LICENCE = "unknown: state the licence of the data"


def _yaml(value: Any) -> str:
    import yaml

    return str(yaml.safe_dump(value, default_flow_style=True, width=10_000)).strip().split("\n")[0]


_TIMES = re.compile(r"t|ts|time.*|epoch.*|unix.*|seconds|t_?(s|ms|us|ns)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?[\d.,]+(?:[eE][+-]?\d+)?(?:\s*[^\d\s]+)?")
_POWER = re.compile(r"p|w|(?:.*[^a-z])?(?:power|watts?|[mk]?w)(?:[^a-z].*)?", re.IGNORECASE)
_ENERGY = re.compile(r"e|j|(?:.*[^a-z])?(?:energy|joules?|[mk]?j|k?wh)(?:[^a-z].*)?", re.IGNORECASE)


def _columns(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Complete what is drafted for a delimited text: its time column, and channels.

    A column whose meaning its name does not show is drafted as a load without a unit: that is
    never taken for power.
    """
    if settings["time"] is not None and settings["channels"]:
        return settings
    lines = [line for line in text.read_text(path).splitlines() if line.strip()][:2]
    mark = str(settings["delimiter"])
    if mark == " ":
        cells = [line.split() for line in lines]
    else:
        cells = [[c.strip() for c in row] for row in csv.reader(lines, delimiter=mark)]
    if len(cells) < 2 or len(cells[1]) > len(cells[0]):
        return settings
    found = dict(settings)
    if mark == " ":
        del found["delimiter"]
    names: list[str | int] = list(cells[0])
    if all(_NUMBER.fullmatch(name) for name in cells[0]):
        names = list(range(len(names)))
        found["header"] = False
    if found["time"] is None:
        found["time"] = next((n for n in names if _TIMES.fullmatch(str(n))), None)
        if found["time"] is None and "header" in found:
            found["time"] = 0
    if not found["channels"]:
        found["channels"] = [
            _channel(name)
            for name, cell in zip(names, cells[1], strict=False)
            if name != found["time"] and _NUMBER.fullmatch(cell)
        ]
    # The header first: the drafted list of channels ends the entry.
    return {key: found[key] for key in sorted(found, key=lambda k: k == "channels")}


def _channel(column: str | int) -> dict[str, Any]:
    channel = "node." + (re.sub(r"[^a-z0-9]+", "_", str(column).lower()).strip("_") or "column")
    shown = re.sub(r"\s*[\[(].*$", "", str(column))
    for kind, words in (("energy", _ENERGY), ("power", _POWER)):
        if isinstance(column, str) and (words.fullmatch(column) or words.fullmatch(shown)):
            return {"column": column, "channel": channel, "unit": None, "kind": kind}
    return {"column": column, "channel": channel, "unit": "1", "kind": "load"}


def _entry(path: Path, number: int) -> list[str]:
    found = ingest.sniff(path)
    form, score = found[0] if found else ("delimited", 0.0)
    shown = os.path.relpath(path)
    lines = [f"      - format: {form}"]
    others = ", ".join(name for name, s in found[1:4] if s >= LEAST)
    if score < LEAST:
        lines[0] += "   # not recognised: describe its columns below"
    elif score < 0.9:
        lines[0] += f"   # not certain{f'; or {others}' if others else ''}"
    lines.append(f"        path: {_yaml(shown)}")
    clock = "node" if number == 0 else f"clock-{number + 1}"
    lines.append(f"        clock: {clock}   # logs by the same machine's clock share this name")
    settings = ingest.reader(form).draft(path)
    if form == "delimited":
        settings = _columns(path, settings)
    for key, value in settings.items():
        if isinstance(value, list):
            lines.append(f"        {key}:   # say what each column is; remove what is not needed")
            lines += [f"          - {_yaml(item)}" for item in value]
        else:
            hint = "   # fill in if you know it" if value is None else ""
            lines.append(f"        {key}: {_yaml(value)}{hint}")
    return lines


def draft(files: Sequence[Path]) -> str:
    """Return the text of a manifest of these files.

    Args:
        files: Logs, or folders of a known format.

    Raises:
        WattproofError: A file is missing, empty, or nothing that could be a log.
    """
    if not files:
        raise WattproofError("Name the logs that the manifest shall be of.")
    entries: list[str] = []
    for number, path in enumerate(files):
        if not path.exists():
            raise WattproofError(f"{path} does not exist; correct its path.")
        if path.is_file():
            head = text.head(path)
            if not head.strip():
                raise WattproofError(f"{path} is empty; leave it out.")
            if text.is_binary(head) and not ingest.sniff(path):
                raise WattproofError(
                    f"{path} is a binary file of no known format; export it as text."
                )
        elif not ingest.sniff(path):
            raise WattproofError(
                f"{path} is a folder of no known format; name the logs in it one by one."
            )
        entries += _entry(path, number)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", files[0].resolve().stem).strip("-._") or "audit"
    return "\n".join(
        [
            "# Drafted by 'wattproof audit --init'. Check each line, then: wattproof audit FILE",
            "# Paths are relative to this file. What a log does not say and is not said here is",
            "# inferred where that is possible, and reported.",
            f"audit: {_yaml(name)}          # outputs go to results/{name}/",
            f"origin: {_yaml(UNKNOWN_ORIGIN)}",
            f"licence: {_yaml(UNKNOWN_LICENCE)}",
            "sets:",
            "  one:                 # a set is one recording; logs of several go into several sets",
            "    logs:",
            *entries,
            "    # reference: {source: …, channel: node.ac}   # what is taken as truth",
            "    # windows:                                    # runs, where no log marks them",
            '    #   - {run_id: a, start: "2024-05-01T10:00:00Z", end: "2024-05-01T10:10:00Z"}',
            "",
        ]
    )
