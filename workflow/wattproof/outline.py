"""The plan in brief: its recordings with their digests, kept so that it is not drawn again.

Snakemake reads the Snakefile at each start, and on a cluster once more in each job. All that it
needs to know of ten thousand runs is which recordings there are, when one is out of date and what
its job asks for; to draw and realise the networks for that costs seconds, to read it back nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import wattproof
from wattproof import plan, tables
from wattproof.config import Config

DECIDING = ("plan", "space", "training", "calibration", "node", "sources")
"""Keys of a campaign that the plan depends on."""

FOLDER = Path(".snakemake") / "wattproof"
"""Where outlines are kept: beside Snakemake's own notes, in the working directory."""

ROWS = ".parquet"
"""Suffix of the rows, beside the outline."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What the workflow knows of a recording.

    Attributes:
        digest: Of all that it must hold (`plan.recording_digest`).
        trainings: How many of its runs are trainings.
        slots: GPUs that its job asks for (`plan.slots`).
        threads: CPU threads that its job asks for (`plan.cpu_threads`).
        several: Whether trainings occupy several slots at once (packed, ddp).
    """

    digest: str
    trainings: int
    slots: int
    threads: int
    several: bool


def of(config: Config, kept: Path | None = None) -> dict[str, Recording]:
    """Return the recordings of a campaign by name, in the order of the plan.

    Args:
        config: A complete, checked campaign.
        kept: Folder of outlines made before; None: make it anew and keep nothing.
    """
    if kept is None:
        return _brief(config, plan.make_plan(config))
    file = _file(config, kept)
    found = _load(file)
    if found is None:
        made = plan.make_plan(config)
        found = _brief(config, made)
        meta = tables.Meta(config["campaign"], simulated=config["node"]["kind"] == "virtual")
        _save(found, made, file, meta)
    return found


def rows(config: Config, recording: str, kept: Path) -> list[plan.PlanRow]:
    """Return the rows of one recording, from what `of` kept where that is there.

    The recordings' jobs do not read table ``plan``: while that is about to be written anew,
    Snakemake does not look whether the recordings that depend on it are out of date themselves.
    """
    file = _file(config, kept).with_suffix(ROWS)
    if file.exists():
        return plan.read_rows(tables.read(file, "plan"), recording)
    return plan.by_recording(plan.make_plan(config))[recording]


def pilots(config: Config) -> list[str]:
    """Return the tables that a plan depends on beside its configuration (key ``plan.pilot``)."""
    return plan.pilots(config)


def is_kept(config: Config, kept: Path | None) -> bool:
    """Whether the plan of this campaign has been made before, so that it can be made."""
    return kept is not None and _load(_file(config, kept)) is not None


def _brief(config: Config, made: list[plan.PlanRow]) -> dict[str, Recording]:
    return {
        name: Recording(
            plan.recording_digest(part),
            sum(bool(row.config) for row in part),
            plan.slots(config, part),
            plan.cpu_threads(config, part),
            any(row.setting not in (plan.SINGLE, plan.CALIBRATION) for row in part),
        )
        for name, part in plan.by_recording(made).items()
    }


def _file(config: Config, kept: Path) -> Path:
    pilots = [_content(pilot) for pilot in plan.pilots(config)]
    key = plan.fingerprint([_code(), {key: config[key] for key in DECIDING}, *pilots])
    return kept / f"plan-{key}.json"


def _content(file: str) -> str:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return ""


@cache
def _code() -> str:
    """Fingerprint of this package's files: a change of any of them makes the outline anew."""
    root = Path(wattproof.__file__).parent

    def stamps() -> Iterator[tuple[str, int, int]]:
        for path in sorted(root.rglob("*.py")):
            about = path.stat()
            yield str(path.relative_to(root)), about.st_size, about.st_mtime_ns

    return plan.fingerprint([str(root), *stamps()])


def _load(file: Path) -> dict[str, Recording] | None:
    """Read an outline; None if it is not there or not whole."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {name: Recording(**about) for name, about in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _save(
    found: dict[str, Recording], made: list[plan.PlanRow], file: Path, meta: tables.Meta
) -> None:
    """Keep an outline whole or not at all; where nothing can be written, it is made each time."""
    content = json.dumps({name: asdict(about) for name, about in found.items()})
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        table = [row.as_row() for row in made]
        tables.write(table, "plan", file.with_suffix(ROWS), meta)
        part.write_text(content, encoding="utf-8")
        os.replace(part, file)
    except OSError:
        part.unlink(missing_ok=True)
