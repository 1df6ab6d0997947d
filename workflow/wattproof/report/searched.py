"""What rule search wrote, as the page takes it."""

from __future__ import annotations

import json
from pathlib import Path

from wattproof.report.parts import Search
from wattproof.report.style import FigureInfo


def read(folder: Path) -> Search:
    """Read the folder of rule search: ``summary.json`` and its figures."""
    found = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    figures = tuple(
        FigureInfo(
            name, about["title"], about["caption"], folder / f"{name}.png", folder / f"{name}.svg"
        )
        for name, about in found["figures"].items()
    )
    return Search(tuple(found["sentences"]), figures)
