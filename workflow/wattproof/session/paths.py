"""Where a recording keeps its raw data (docs/architecture.md, "Files of a campaign")."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattproof.plan import PlanRow


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a recording keeps its things (docs/architecture.md)."""

    raw: Path
    truth: Path

    @property
    def runs(self) -> Path:
        """Folder of the result files of finished runs."""
        return self.raw / "runs"

    def result(self, run_id: str) -> Path:
        """Result file of a run."""
        return self.runs / f"{run_id}.json"

    def sessions(self) -> list[Path]:
        """Folders of all sessions so far, oldest first."""
        return sorted(path for path in self.raw.glob("session-*") if path.is_dir())


def atomic_json(path: Path, content: Any) -> None:
    """Write a JSON file so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
    os.replace(temporary, path)


def is_sync(row: PlanRow) -> bool:
    """Whether a row of the plan is the synchronisation pattern."""
    return row.spec.get("load") == "sync"


def missing(rows: Sequence[PlanRow], paths: Paths) -> list[PlanRow]:
    """Rows without a result, the synchronisation pattern apart."""
    return [row for row in rows if not is_sync(row) and not paths.result(row.run_id).exists()]
