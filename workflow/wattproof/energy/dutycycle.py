"""What a sensor that looks only part of the time leaves unknown of an energy.

Of each update period T such a sensor sees a window W (25 of 100 ms on A100 and H100, arXiv
2312.02741). Sampling one window from each period is stratified sampling: the error of a sum is that
of the single strata, added up. One value a stratum does not show how power varies inside it, but
neighbouring strata do, through the semivariances γ(T) and γ(2T), half the mean squares of
differences to the next value and the one after it:

- what varies faster than T looks the same at both lags: γ(T) = γ(2T) = ν. A stratum's mean is then
  off by ν·(1 − W/T), as for any sample that is part of what it stands for;
- what moves by rare steps doubles from one lag to the next. A step of d at an unknown instant
  between two windows leaves d²/12, that is γ(T)/6, at most; (1 − W/T)² of it if steps are sharp.
  With 1 − W/T, intervals of simulated loads cover as often as they say, or a little more.

So ν = 2γ(T) − γ(2T), within 0 and γ(T), and the rest counts as steps. Where γ(2T) < γ(T), power
swings with about twice the period, and each stratum holds a step: ν is at most γ(2T).

Errors of strata are not independent for a load that is periodic and keeps pace with the sensor:
each of its periods is seen at the same places, and errors add up instead of averaging out
(aliasing). The differences of neighbours then repeat. With ρ their autocorrelation at some lag, a
share s = 1 − ρ of the steps moved to another stratum, that is, the load moved against the sensor by
s·T, and the errors of steps correlate by 1 − 6·s·(1 − s). That correlation is summed over all lags
inside the window. It cannot see a load whose period is a whole fraction of T: such power looks
constant. A meter or a sensor of another kind is needed to see that.
"""

from __future__ import annotations

import numpy as np

from wattproof.clocks.frames import F64Array

CONTEXT = 128
"""Strata that are looked at for repetition, at least."""
LONGEST = 4096
"""And at most."""
NEIGHBOURS = 2
"""Strata on each side that belong to a window, for what they say about its edges."""


def unseen_u_j(
    edge_s: F64Array,
    power_w: F64Array,
    start_s: F64Array,
    end_s: F64Array,
    update_s: float,
    window_s: float,
) -> F64Array:
    """Return the standard uncertainty of each window's energy by what the sensor did not see.

    Args:
        edge_s: Bounds of the strata, increasing, shape (n + 1,).
        power_w: What was seen in each; NaN where unknown, shape (n,).
        start_s: Starts of the windows, shape (k,).
        end_s: Their ends, shape (k,).
        update_s: Time between two looks.
        window_s: Length of a look.
    """
    n, k = len(power_w), len(start_s)
    if n < 3:
        return np.full(k, np.nan)
    known = np.isfinite(power_w)
    value = np.where(known, power_w, 0.0)
    first = np.where(known[1:] & known[:-1], np.diff(value), 0.0)
    second = np.where(known[2:] & known[:-2], value[2:] - value[:-2], 0.0)
    gamma1, count1 = _sums(first, known[1:] & known[:-1])
    gamma2, count2 = _sums(second, known[2:] & known[:-2])
    low = np.clip(np.searchsorted(edge_s, start_s, side="right") - 1 - NEIGHBOURS, 0, n - 1)
    high = np.clip(np.searchsorted(edge_s, end_s, side="left") + NEIGHBOURS, low + 1, n)
    one = _mean(gamma1, count1, low, np.maximum(high - 1, low))
    two = _mean(gamma2, count2, low, np.maximum(high - 2, low))
    fast = np.clip(np.minimum(2 * one - two, two), 0.0, one)
    blind = 1 - window_s / update_s
    # A look that catches a step splits it in two: the longer lag still sees the whole.
    steps = np.maximum(one - fast, (two - fast) / 2)
    each = blind * (fast + steps / 6)
    strata = (end_s - start_s) / update_s
    together = np.ones(k)
    for i in np.flatnonzero((each > 0) & (strata > 2)):
        together[i] = _repetition(first, int(low[i]), int(high[i]), float(strata[i]))
    result: F64Array = update_s * np.sqrt(each * np.maximum(strata, 1.0) * together)
    return result


def _sums(difference: F64Array, known: np.ndarray) -> tuple[F64Array, F64Array]:
    squares = np.concatenate(([0.0], np.cumsum(difference**2 / 2)))
    return squares, np.concatenate(([0.0], np.cumsum(known, dtype=np.float64)))


def _mean(total: F64Array, count: F64Array, low: np.ndarray, high: np.ndarray) -> F64Array:
    return (total[high] - total[low]) / np.maximum(count[high] - count[low], 1.0)


def _repetition(difference: F64Array, low: int, high: int, strata: float) -> float:
    """By how much repetition raises the variance of the sum over a window."""
    missing = CONTEXT - (high - low)
    if missing > 0:
        low = max(low - missing // 2, 0)
        high = min(low + CONTEXT, len(difference))
    part = difference[low : min(high, low + LONGEST)]
    size = len(part)
    if size < 8:
        return 1.0
    spectrum = np.abs(np.fft.rfft(part, 2 * size)) ** 2
    product = np.fft.irfft(spectrum)[:size]
    # Each lag against the energy of the pairs that overlap at it, not of the whole stretch.
    squares = np.cumsum(part**2)
    lags = np.arange(1, size // 2)
    head, tail = squares[size - 1 - lags], squares[-1] - squares[lags - 1]
    scale = np.sqrt(head * tail)
    rho = np.divide(product[lags], scale, out=np.zeros(len(lags)), where=scale > 0)
    moved = 1 - np.clip(rho, 0.5, 1.0)
    alike = np.where(rho > 0.5, np.maximum(1 - 6 * moved * (1 - moved), 0.0), 0.0)
    weight = np.maximum(1 - lags / strata, 0.0)
    beyond = 1.0
    if strata > size // 2:
        # What repeats until the last lag that can be seen goes on repeating.
        beyond = strata / (size // 2)
    return float(1 + 2 * np.sum(weight * alike) * beyond)
