"""Which row of the plan starts next, and on which slots.

The same order as in the offline mode (`offline.staging`): rows start in the order of the plan; a
packed training takes the slot that is free first; anything else (a load, the synchronisation
pattern, a training that is alone or on all slots) waits until it has the node to itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from wattproof.plan import PlanRow

PACKED = "packed"
DDP = "ddp"


def everywhere(row: PlanRow) -> bool:
    """Whether a row occupies all slots of the recording."""
    return row.setting == DDP or bool(row.spec.get("everywhere"))


class Queue:
    """What is left of a recording, and which slots are free.

    Args:
        rows: Left to do, in order.
        slots: Number of slots.
    """

    def __init__(self, rows: Iterable[PlanRow], slots: int) -> None:
        self._rows = deque(rows)
        self._slots = slots
        self._free = list(range(slots))
        """In the order in which they became free."""

    def __len__(self) -> int:
        return len(self._rows)

    def waiting(self) -> list[PlanRow]:
        """Return the rows that have not started, in order."""
        return list(self._rows)

    def next(self) -> tuple[PlanRow, tuple[int, ...]] | None:
        """Return the row that can start now with its slots, which are no longer free then."""
        if not self._rows:
            return None
        row = self._rows[0]
        if row.setting == PACKED:
            if not self._free:
                return None
            taken: tuple[int, ...] = (self._free.pop(0),)
        else:
            if len(self._free) < self._slots:
                return None
            taken = tuple(range(self._slots)) if everywhere(row) else (0,)
            self._free = []
        self._rows.popleft()
        return row, taken

    def release(self, row: PlanRow, slots: Iterable[int]) -> None:
        """Take back the slots of a row that ended."""
        if row.setting == PACKED:
            self._free += slots
        else:
            self._free = list(range(self._slots))
