"""The load as it was: a square wave given by its edges, and what a sensor would make of it.

All instants are seconds from one common anchor (float64 is good to nanoseconds over hours there).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

F64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Wave:
    """A load that is high (1) or low (0), low before its first edge.

    Attributes:
        t_s: Instants of the edges, increasing, shape (n,), n ≥ 1.
        level: Level from each edge on, shape (n,).
    """

    t_s: F64Array
    level: F64Array

    @cached_property
    def _area(self) -> F64Array:
        """Integral of the level up to each edge."""
        steps = np.diff(self.t_s) * self.level[:-1]
        return np.concatenate(([0.0], np.cumsum(steps)))

    def at(self, t_s: F64Array) -> F64Array:
        """Return the level at these instants."""
        k = np.searchsorted(self.t_s, t_s, side="right") - 1
        return np.where(k >= 0, self.level[np.maximum(k, 0)], 0.0)

    def area(self, t_s: F64Array) -> F64Array:
        """Return the integral of the level up to these instants."""
        past = np.maximum(t_s - self.t_s[-1], 0.0) * self.level[-1]
        area: F64Array = np.interp(t_s, self.t_s, self._area) + past
        return area

    def boxcar(self, end_s: F64Array, window_s: float) -> F64Array:
        """Return the mean level over `window_s` before each instant; 0: the level there."""
        if window_s <= 0:
            return self.at(end_s)
        return (self.area(end_s) - self.area(end_s - window_s)) / window_s

    def lag(self, t_s: F64Array, tau_s: float) -> F64Array:
        """Return what a first-order lag of this time constant shows at each instant."""
        if tau_s <= 0:
            return self.at(t_s)
        decay = np.exp(-np.diff(self.t_s) / tau_s).tolist()
        shown = [0.0]
        for keep, level in zip(decay, self.level.tolist(), strict=False):
            shown.append(level + (shown[-1] - level) * keep)
        at_edge = np.asarray(shown)
        k = np.maximum(np.searchsorted(self.t_s, t_s, side="right") - 1, 0)
        since = np.maximum(t_s - self.t_s[k], 0.0)
        target = np.where(t_s >= self.t_s[0], self.level[k], 0.0)
        result: F64Array = target + (at_edge[k] - target) * np.exp(-since / tau_s)
        return result

    def respond(self, averaging: str, t_s: F64Array, window_s: float) -> F64Array:
        """Return `boxcar` or `lag` by name."""
        return self.lag(t_s, window_s) if averaging == "lag" else self.boxcar(t_s, window_s)


@dataclass(frozen=True)
class RampedWave(Wave):
    """The same load where the power itself follows it as a first-order lag.

    Attributes:
        ramp_s: Time constant, above 0.
    """

    ramp_s: float = 0.01

    def at(self, t_s: F64Array) -> F64Array:
        """Return the power, 0 to 1, at these instants."""
        return Wave.lag(self, t_s, self.ramp_s)

    def area(self, t_s: F64Array) -> F64Array:
        """Return its integral: what the load asked for, less what is still to come."""
        return Wave.area(self, t_s) - self.ramp_s * Wave.lag(self, t_s, self.ramp_s)

    def lag(self, t_s: F64Array, tau_s: float) -> F64Array:
        """Return what a first-order lag shows of it: one lag behind the other."""
        if abs(tau_s - self.ramp_s) < 1e-6:
            tau_s = self.ramp_s + 1e-6
        own, other = Wave.lag(self, t_s, self.ramp_s), Wave.lag(self, t_s, tau_s)
        return (tau_s * other - self.ramp_s * own) / (tau_s - self.ramp_s)


@dataclass(frozen=True)
class PartTimeWave(Wave):
    """The same load for an average over updates of a sensor that sees only a part of each period.

    `boxcar` and `lag` then sum over the updates, each of which is the mean of its last `seen_s`.

    Attributes:
        period_s: Time between two updates; the last one is at the instants asked for.
        seen_s: Seen by each.
    """

    period_s: float = 1.0
    seen_s: float = 1.0

    def _seen(self, end_s: F64Array) -> F64Array:
        return (self.area(end_s) - self.area(end_s - self.seen_s)) / self.seen_s

    def _sum(self, end_s: F64Array, weights: F64Array) -> F64Array:
        weights = weights / weights.sum()
        steps = np.round((end_s - end_s[0]) / self.period_s).astype(np.int64)
        if np.abs(end_s - end_s[0] - steps * self.period_s).max() > 1e-3 * self.period_s:
            earlier = end_s[:, None] - np.arange(len(weights)) * self.period_s
            mean: F64Array = self._seen(earlier) @ weights
            return mean
        # Instants that are updates themselves share their earlier ones: each is looked at once.
        first = int(steps.min()) - len(weights) + 1
        grid = end_s[0] + np.arange(first, int(steps.max()) + 1) * self.period_s
        return np.convolve(self._seen(grid), weights)[steps - first]

    def boxcar(self, end_s: F64Array, window_s: float) -> F64Array:
        """Return the mean of the updates of `window_s`; a part of an update counts as such."""
        count = max(window_s / self.period_s, 1.0)
        return self._sum(end_s, np.clip(count - np.arange(np.ceil(count)), 0.0, 1.0))

    def lag(self, t_s: F64Array, tau_s: float) -> F64Array:
        """Return the exponentially weighted mean of the updates."""
        ratio = self.period_s / max(tau_s, 1e-3)
        return self._sum(t_s, np.exp(-ratio * np.arange(np.ceil(6.0 / ratio) + 1)))
