"""A scripted true power: piecewise constant, its energy exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

S_TO_NS = 1_000_000_000


class PowerScript:
    """True power of a GPU from an instant on.

    Args:
        start_ns: Instant (CLOCK_MONOTONIC) at which the script begins.
        steps: ``(t_s, watts)``: for so many seconds so many watts, one after the other. (How long,
            not from when: a duration of 0 is refused.)
        then: Power after the last step; by default idle.
        idle_w: Power before the start, and after the end unless `then` says else.

    Example:
        >>> script = PowerScript(0, [(5.0, 300.0), (5.0, 100.0)], then=75.0)
        >>> script.energy_j(0, 12 * 10**9)
        2150.0
    """

    def __init__(
        self,
        start_ns: int,
        steps: Sequence[tuple[float, float]],
        then: float | None = None,
        idle_w: float = 75.0,
    ) -> None:
        durations_ns = np.array([round(t * S_TO_NS) for t, _ in steps], np.int64)
        watts = [w for _, w in steps]
        if np.any(durations_ns <= 0):
            raise ValueError("Steps are (how long in s, watts): no duration is 0 or less.")
        if min([*watts, 0.0]) < 0.0:
            raise ValueError("No step has negative power.")
        self.start_ns = int(start_ns)
        self.idle_w = idle_w
        self.starts_ns: NDArray[np.int64] = self.start_ns + np.concatenate(
            [np.zeros(1, np.int64), np.cumsum(durations_ns)]
        )
        self.watts: NDArray[np.float64] = np.array([*watts, idle_w if then is None else then])
        self._sums_j = prefix_j(self.starts_ns, self.watts)

    @property
    def end_ns(self) -> int:
        """Instant at which the last step ends and `then` begins."""
        return int(self.starts_ns[-1])

    def power_w(self, t_ns: int) -> float:
        """True power at an instant."""
        at = int(np.searchsorted(self.starts_ns, t_ns, "right")) - 1
        return self.idle_w if at < 0 else float(self.watts[at])

    def energy_j(self, start_ns: int, end_ns: int) -> float:
        """True energy of a half-open interval, in joules."""
        return self._since_start_j(end_ns) - self._since_start_j(start_ns)

    def _since_start_j(self, t_ns: int) -> float:
        if t_ns < self.start_ns:
            return self.idle_w * (t_ns - self.start_ns) * 1e-9
        at = int(np.searchsorted(self.starts_ns, t_ns, "right")) - 1
        return float(self._sums_j[at] + self.watts[at] * (t_ns - int(self.starts_ns[at])) * 1e-9)


def prefix_j(starts_ns: NDArray[np.int64], watts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Energy from the first step to the start of each, in joules."""
    return np.concatenate([[0.0], np.cumsum(watts[:-1] * np.diff(starts_ns) * 1e-9)])
