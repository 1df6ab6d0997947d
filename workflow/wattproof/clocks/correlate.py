"""Numerics of the alignment: high-pass levels, correlate them, find the lag, judge the peak."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wattproof.clocks.frames import BoolArray, F64Array
from wattproof.clocks.levels import moving_sum

HIGH_PASS_S = 2.0
"""Levels are compared after subtraction of their mean over this time: edges carry the timing,
plateaus only make the peak broad. Longer than a chip of the sync pattern (0.25 s) by far, shorter
than a typical epoch."""

HIGH_PASS_PERIODS = 8
"""… and with slow meters so many of their periods: within fewer they have no shape."""

CLEAR_RATIO = 0.6
"""A second peak up to this share of the best one costs no confidence: a random pattern of a few
dozen chips has side lobes of that size by chance."""

NO_CONFIDENCE_RATIO = 1.0
"""A second peak as high as the best one leaves no confidence at all."""

NO_EVIDENCE_Z, FULL_EVIDENCE_Z = 5.0, 7.0
"""Strength of the peak in standard deviations of chance (`strength`): unrelated patterns of 24
chips reach 5.4 as the best of 500 lags (in 500 simulated recordings), right matches 6 to 28."""

NO_LEAD_Z, FULL_LEAD_Z = 5.0, 10.0
"""Lead of the best peak over the second (`Peak.ahead`) that makes up for a high second peak."""

CERTAIN = 0.999
"""Higher correlations count as this: Fisher's transform knows no bounds."""

MEMORY_S = 10.0
"""Levels are taken to remember themselves this long: more than an epoch of the demo."""


@dataclass(frozen=True, slots=True)
class Peak:
    """Best lag of two series.

    Attributes:
        lag_s: Time by which the second series is *late* against the first.
        height: Pearson correlation there.
        second: Largest correlation outside the main lobe (0 if none is positive).
        inside: False if the best lag lies on the border of the searched range.
        overlap: Grid points that both series cover at the best lag.
        strength: Height in standard deviations of chance.
    """

    lag_s: float
    height: float
    second: float
    inside: bool
    overlap: int
    strength: float = 0.0

    @property
    def ratio(self) -> float:
        """Second-best peak over best peak; 1 if there is no positive peak."""
        return self.second / self.height if self.height > 0 else 1.0

    @property
    def ahead(self) -> float:
        """Lead of the best peak over the second in standard deviations of their difference."""
        if self.height <= 0 or self.strength <= 0:
            return 0.0
        best, second = (np.arctanh(min(r, CERTAIN)) for r in (self.height, self.second))
        return float(self.strength * (1 - second / best) / np.sqrt(2))

    @property
    def confidence(self) -> float:
        """Height of the peak × how clearly it stands out × how much evidence it has, 0 to 1."""
        if self.height <= 0 or not self.inside:
            return 0.0
        clear = (NO_CONFIDENCE_RATIO - self.ratio) / (NO_CONFIDENCE_RATIO - CLEAR_RATIO)
        # 0.97 against 0.81 is little as a ratio, but no chance over some hundred level changes.
        ahead = (self.ahead - NO_LEAD_Z) / (FULL_LEAD_Z - NO_LEAD_Z)
        enough = (self.strength - NO_EVIDENCE_Z) / (FULL_EVIDENCE_Z - NO_EVIDENCE_Z)
        parts = np.clip([self.height, max(clear, ahead), enough], 0, 1)
        return float(np.prod(parts))


def high_pass(
    levels: F64Array, valid: BoolArray, step_s: float, over_s: float = HIGH_PASS_S
) -> F64Array:
    """Subtract the moving mean of the valid points; invalid points become 0 (no evidence).

    Single excursions are limited to 6 times the root mean square, so that one spike cannot make
    a correlation.

    Args:
        levels: Levels on a grid, shape (n,).
        valid: Which of them are known, shape (n,).
        step_s: Grid step.
        over_s: Length of the moving mean.
    """
    if not valid.any():
        return np.zeros_like(levels)
    centred = np.where(valid, levels - levels[valid].mean(), 0.0)
    half = max(1, round(over_s / step_s / 2))
    weight = np.maximum(moving_sum(valid.astype(np.float64), half), 1.0)
    out = np.where(valid, centred - moving_sum(centred, half) / weight, 0.0)
    limit = 6.0 * float(np.sqrt(np.mean(out[valid] ** 2)))
    clipped: F64Array = np.clip(out, -limit, limit)
    return clipped


def correlation(
    first: F64Array,
    first_valid: BoolArray,
    second: F64Array,
    second_valid: BoolArray,
    max_lag: int,
) -> tuple[F64Array, F64Array]:
    """Normalised cross-correlation of two high-passed series on one grid, by FFT.

    Args:
        first: Levels, shape (n,); invalid points are 0.
        first_valid: Shape (n,).
        second: Levels, shape (n,); invalid points are 0.
        second_valid: Shape (n,).
        max_lag: Largest lag in grid points.

    Returns:
        ``(r, overlap)``, both of shape (2·max_lag + 1,): entry ``max_lag + k`` compares
        ``first[i]`` with ``second[i + k]``, normalised over the points that both cover.
    """
    from scipy import fft

    n = len(first)
    max_lag = min(max_lag, n - 1)
    size = fft.next_fast_len(n + max_lag, real=True)

    def spectrum(values: F64Array) -> np.ndarray:
        result: np.ndarray = fft.rfft(values, size)
        return result

    def lagged(a: np.ndarray, b: np.ndarray) -> F64Array:
        full = fft.irfft(np.conj(a) * b, size)
        result: F64Array = np.concatenate((full[size - max_lag :], full[: max_lag + 1]))
        return result

    mask_1 = spectrum(first_valid.astype(np.float64))
    mask_2 = spectrum(second_valid.astype(np.float64))
    product = lagged(spectrum(first), spectrum(second))
    energy_1 = np.maximum(lagged(spectrum(first * first), mask_2), 0.0)
    energy_2 = np.maximum(lagged(mask_1, spectrum(second * second)), 0.0)
    overlap = np.rint(lagged(mask_1, mask_2))
    scale = np.sqrt(energy_1 * energy_2)
    # Round-off of the FFT must not be divided by itself where nothing overlaps.
    tiny = 1e-9 * float(np.sqrt(np.sum(first**2) * np.sum(second**2)))
    r = np.divide(product, scale, out=np.zeros_like(product), where=scale > tiny)
    return r, overlap


def find_peak(
    r: F64Array, overlap: F64Array, step_s: float, min_overlap: float, min_lobe_s: float
) -> Peak:
    """Return the best lag of a correlation function, to a fraction of a grid step.

    The main lobe reaches to 1.5 times the distance at which the correlation falls to half its
    peak (at least `min_lobe_s`); the second peak is the largest value beyond it.

    Args:
        r: Correlation by lag, odd length, lag 0 in the middle.
        overlap: Points compared at each lag.
        step_s: Grid step.
        min_overlap: Lags with fewer compared points do not count.
        min_lobe_s: Smallest half-width of the main lobe.
    """
    usable = np.where(overlap >= min_overlap, r, -1.0)
    best = int(np.argmax(usable))
    height = float(usable[best])
    middle = len(r) // 2
    inside = 0 < best < len(r) - 1 and bool((usable[[best - 1, best + 1]] > -1.0).all())
    if height <= 0:
        return Peak(0.0, max(height, 0.0), 0.0, False, int(max(overlap[best], 0)))
    below = usable < height / 2
    left = np.flatnonzero(below[:best])
    right = np.flatnonzero(below[best:])
    reach_left = best - left[-1] if len(left) else best
    reach_right = right[0] if len(right) else len(r) - best
    reach = max(int(np.ceil(1.5 * max(reach_left, reach_right))), round(min_lobe_s / step_s))
    outside = np.concatenate((usable[: max(best - reach, 0)], usable[best + reach + 1 :]))
    second = max(float(outside.max()), 0.0) if len(outside) else height
    shift = 0.0
    if inside:
        before, after = usable[best - 1], usable[best + 1]
        bend = before - 2 * height + after
        shift = float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0
    return Peak((best - middle + shift) * step_s, height, second, inside, int(overlap[best]))


def effective_points(first: F64Array, second: F64Array, step_s: float) -> float:
    """Number of independent pairs in two overlapping series (Bartlett's formula).

    Two series that remember themselves correlate by chance as strongly as ``n / Σ ρ₁ρ₂``
    independent ones; with ρ the autocorrelations. Repeated epochs make it small. The formula
    knows nothing of noise around a single step, so two points per swing are the limit.
    """
    from scipy import fft

    n = len(first)
    size = fft.next_fast_len(2 * n, real=True)
    memory = min(round(MEMORY_S / step_s), n - 1)
    rho = []
    for values in (first, second):
        power = np.abs(fft.rfft(values, size)) ** 2
        auto = fft.irfft(power, size)[: memory + 1]
        if auto[0] <= 0:
            return 0.0
        rho.append(auto / auto[0])
    bartlett = n / max(1.0, 1.0 + 2.0 * float(np.sum(rho[0][1:] * rho[1][1:])))
    return float(min(bartlett, 2 * swings(first), 2 * swings(second)))


def swings(values: F64Array) -> int:
    """Count the changes between above +0.5 and below −0.5 times the root mean square."""
    limit = 0.5 * float(np.sqrt(np.mean(values**2)))
    sides = np.sign(values[np.abs(values) > limit])
    return int(np.count_nonzero(np.diff(sides)))


def strength(height: float, points: float) -> float:
    """Correlation in standard deviations of chance, by Fisher's transform."""
    if points <= 3:
        return 0.0
    return float(np.arctanh(min(height, CERTAIN)) * np.sqrt(points - 3))


def with_strength(
    peak: Peak,
    first: F64Array,
    first_valid: BoolArray,
    second: F64Array,
    second_valid: BoolArray,
    step_s: float,
) -> Peak:
    """Return the peak with its strength, from the points that both series cover at its lag."""
    lag = round(peak.lag_s / step_s)
    n = len(first) - abs(lag)
    a, b = max(-lag, 0), max(lag, 0)
    both = first_valid[a : a + n] & second_valid[b : b + n]
    where = np.flatnonzero(both)
    if not len(where) or peak.height <= 0:
        return peak
    span = slice(where[0], where[-1] + 1)
    left = np.where(both, first[a : a + n], 0.0)[span]
    right = np.where(both, second[b : b + n], 0.0)[span]
    points = effective_points(left, right, step_s) * float(both[span].mean())
    return replace(peak, strength=strength(peak.height, points))
