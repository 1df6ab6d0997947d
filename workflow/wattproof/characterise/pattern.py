"""What the load plays: square waves of several periods, then a pseudo-random one.

A slow wave shows averages of seconds. Fast ones, of periods that are in no simple ratio to each
other or to any round update period, walk their edges through the sensor's windows: that is what
tells a window of 25 ms in 100 ms (arXiv 2312.02741 does it with rational fractions of the update
period; here the update period need not be known beforehand). The random part has all time scales
at once and resembles none of its own shifts, so it settles delay and shape of the response.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

QUIET_S = 2.0
"""Rest before and after, in seconds: what the power does without us."""

PERIODS_S = (4.31, 1.367, 0.531, 0.2113, 0.0937)
SHARES = (0.24, 0.17, 0.13, 0.10, 0.06)
"""Periods of the square waves, and the share of the time that each is played for."""

CHIP_S = (0.03, 1.2)
"""Shortest and longest half-wave of the random part; its logarithm is evenly distributed."""

MIN_S = 15.0
"""Shortest run that has something of everything."""


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of the pattern.

    Attributes:
        name: For people: ``4.31 s``, ``random``, ``quiet``.
        steps: (seconds, high?) one after the other.
    """

    name: str
    steps: tuple[tuple[float, bool], ...]

    @property
    def seconds(self) -> float:
        """Length of the block."""
        return sum(seconds for seconds, _ in self.steps)


def programme(seconds: float, seed: int = 0) -> list[Block]:
    """Return the blocks of a run of about this length.

    Args:
        seconds: Length of the whole pattern, at least `MIN_S`.
        seed: Of the random part.
    """
    busy = seconds - 2 * QUIET_S
    quiet = Block("quiet", ((QUIET_S, False),))
    blocks = [quiet]
    for period, share in zip(PERIODS_S, SHARES, strict=True):
        cycles = max(1, round(busy * share / period))
        wave = ((period / 2, True), (period / 2, False))
        blocks.append(Block(f"{period:g} s", wave * cycles))
    left = max(2.0, busy - sum(block.seconds for block in blocks[1:]))
    return [*blocks, Block("random", tuple(_chips(left, seed))), quiet]


def _chips(seconds: float, seed: int) -> list[tuple[float, bool]]:
    draw = random.Random(seed)
    shortest, longest = (math.log(limit) for limit in CHIP_S)
    chips: list[tuple[float, bool]] = []
    while sum(length for length, _ in chips) < seconds:
        # Pairs of high and low, so that the part ends low.
        for high in (True, False):
            chips.append((math.exp(draw.uniform(shortest, longest)), high))
    return chips
