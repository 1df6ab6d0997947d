"""A table of the page as texts: what is unknown or refused stands there in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wattproof.report.text import UNKNOWN, known


@dataclass(frozen=True)
class View:
    """A table as the template draws it.

    Attributes:
        key: Id of the table on the page.
        caption: What a row is and how to read it.
        columns: Headings.
        rows: Texts; the first `headers` cells of a row are its heading.
        missing: Why there are no rows; empty if there are.
        notes: Numbered notes below the table.
        groups: Headings over several columns: (text, columns).
        source: Table that it is made from; empty for none.
        headers: How many leading cells name the row.
    """

    key: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    missing: str = ""
    notes: tuple[str, ...] = ()
    groups: tuple[tuple[str, int], ...] = ()
    source: str = ""
    headers: int = 1


class Notes:
    """Numbers reasons, each once.

    Attributes:
        texts: The reasons in order.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        """Return the mark of a note, e.g. ``[1]``."""
        if text not in self.texts:
            self.texts.append(text)
        return f"[{self.texts.index(text) + 1}]"


def or_refused(text: str, value: Any, refused: str, notes: Notes) -> str:
    """Return the text of a known value, else that it is refused (with its note) or unknown."""
    if known(value):
        return text
    return f"refused {notes.mark(refused)}" if refused else UNKNOWN
