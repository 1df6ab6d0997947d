"""What rule search wrote, as the page takes it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from wattproof.report.parts import Search
from wattproof.report.style import FigureInfo


def read_search(folder: str | os.PathLike[str] | Sequence[str]) -> Search:
    """Read the folder of rule search: ``summary.json`` and its figures; nothing without one."""
    if not folder or not isinstance(folder, str | os.PathLike):
        return Search()
    where = Path(folder)
    found = json.loads((where / "summary.json").read_text(encoding="utf-8"))
    figures = tuple(
        FigureInfo(
            name, about["title"], about["caption"], where / f"{name}.png", where / f"{name}.svg"
        )
        for name, about in found["figures"].items()
    )
    return Search(tuple(found["sentences"]), figures)
