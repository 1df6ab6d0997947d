"""Lines of an LMG that are held back until it shows whether they are damage or the new truth."""

from __future__ import annotations

from dataclasses import dataclass

from wattproof.sources.meters.lmg_counters import Clock, Line, cycles_between

RESYNC_LINES = 4
"""So many lines must follow from each other, and not from the last good one, before they are
believed and it is not: the same damage may well strike two or three neighbours."""
LONGEST_HOLD = 64
"""More lines than this are not held back."""


@dataclass(slots=True)
class Held:
    """A line in doubt.

    Attributes:
        at_ns: Its arrival.
        line: None if it cannot be parsed, or repeats the last good one.
        stands: It stands for a cycle: it was not merely repeated.
        chain: Number of lines up to this one that follow from each other.
        before: Its predecessor among them.
        believed: Whether it turned out to be true.
    """

    at_ns: int
    line: Line | None
    stands: bool = True
    chain: int = 0
    before: Held | None = None
    believed: bool = False


class Doubt:
    """Lines that do not follow from the last good one, until they can be judged.

    Args:
        clock: What the stamps count.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: list[Held] = []

    def __bool__(self) -> bool:
        return bool(self._held)

    @property
    def cycles(self) -> int:
        """Cycles that the held lines stand for, if all of them are damaged."""
        return sum(held.stands for held in self._held)

    def add(self, new: Held) -> list[Held]:
        """Hold a line back; returns all that is held once enough of it hangs together."""
        if new.line is not None:
            new.chain = 1
            for old in self._held:
                if old.chain >= new.chain and self._follows(old, new):
                    new.chain, new.before = old.chain + 1, old
        self._held.append(new)
        if new.chain < RESYNC_LINES:
            return self.give_up() if len(self._held) > LONGEST_HOLD else []
        link: Held | None = new
        while link is not None:
            link.believed = True
            link = link.before
        return self.give_up()

    def give_up(self) -> list[Held]:
        """Return all that is held, and forget it."""
        held, self._held = self._held, []
        return held

    def _follows(self, old: Held, new: Held) -> bool:
        assert old.line is not None
        assert new.line is not None
        elapsed_s = (new.at_ns - old.at_ns) / 1e9
        return cycles_between(old.line, new.line, self._clock, elapsed_s) is not None
