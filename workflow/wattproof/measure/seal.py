"""From the raw data of a record to tables and summary; can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wattproof import archive
from wattproof.doctor import ENERGY_SOURCES, Finding, Settings, diagnose
from wattproof.measure.folder import Folder, cannot_write, read_about, write_json
from wattproof.measure.record import started_sources


def seal(path: Path, progress: Callable[[str], None] = lambda _text: None) -> dict[str, Any]:
    """Make tables and summary of a record.

    Args:
        path: Folder of the record.
        progress: Called with one line for people, if a meter's archive must be waited for.

    Returns:
        The summary.

    Raises:
        WattproofError: If it is no record, is being recorded, or nothing can be written.
    """
    from wattproof.measure import analysis, summary

    folder = Folder(path)
    about = {**read_about(folder), "path": str(path)}
    try:
        with folder.locked():
            _, archived = archive.split(about["sources"])
            if archived is not None:
                partly = about["on_missing"] == "continue"
                archive.slice_for(folder.raw, about, archived, partly, progress)
            found = analysis.analyse(folder, about)
            analysis.write(folder, about, found)
            content = summary.summarise(about, found, _findings(folder, about))
            write_json(folder.summary, content)
    except OSError as error:
        raise cannot_write(path, error) from error
    return content


def _findings(folder: Folder, about: Mapping[str, Any]) -> dict[str, Sequence[Finding]]:
    """Ask the doctor about the sources of energy that did not come up; keep what he says.

    He is asked once, on the machine that recorded and soon after: later he would describe another
    machine, or another day.
    """
    kept = folder.raw / "doctor.json"
    if kept.exists():
        import json

        return {
            name: [Finding(**item) for item in items]
            for name, items in json.loads(kept.read_text(encoding="utf-8")).items()
        }
    started = started_sources(folder.raw)
    wanted = [name for name in about["sources"] if name in ENERGY_SOURCES]
    if about["config"] is None:
        wanted.append("meter")  # nobody can be asked for the meter but the user
    absent = [name for name in wanted if name not in started]
    found = diagnose(absent, Settings(about["sources"])) if absent else {}
    write_json(kept, {name: [f.as_dict() for f in items] for name, items in found.items()})
    return dict(found)
