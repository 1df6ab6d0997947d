"""Formulas that the model and the nvidia-smi-like executable must share, to the last bit.

Standard library only: the executable is started for each sample, and importing NumPy would cost it
several times its own run time. All functions take floats and ints as well as NumPy arrays.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take the name as true; importing `typing` would cost time
if TYPE_CHECKING:
    from typing import Any

MASK_64 = 0xFFFF_FFFF_FFFF_FFFF

KERNELS_IN_FLIGHT = 6
"""Utilisation counts the time in which *any* kernel runs, so it saturates long before power does:
an assumption of the model, not a measured figure."""


def fill(load: Any, fill_factor: float) -> Any:
    """Load of a reference GPU (0 to 1) as seen by a GPU that is `fill_factor` times easier to fill.

    Odds are multiplied by the factor: 0 stays 0, 1 stays 1, and it is monotone in between.
    """
    return fill_factor * load / (1.0 + (fill_factor - 1.0) * load)


def gpu_power_w(
    compute: Any,
    memory: Any,
    idle_w: float,
    limit_w: float,
    compute_weight: float,
    fill_factor: float,
) -> Any:
    """True power of a GPU in watts; monotone in both loads, `idle_w` at 0, `limit_w` at 1.

    Args:
        compute: Load of the compute units of the reference GPU, 0 to 1.
        memory: Load of its memory, 0 to 1.
        idle_w: Power at no load.
        limit_w: Power at full load of both.
        compute_weight: Share of compute in the dynamic power, 0 to 1.
        fill_factor: See `fill`.
    """
    share = compute_weight * fill(compute, fill_factor)
    share = share + (1.0 - compute_weight) * fill(memory, fill_factor)
    return idle_w + (limit_w - idle_w) * share


def utilisation(load: Any, fill_factor: float) -> Any:
    """Share of time (0 to 1) in which any kernel runs."""
    return 1.0 - (1.0 - fill(load, fill_factor)) ** KERNELS_IN_FLIGHT


def last_tick_ns(now_ns: Any, phase_ns: int, period_ns: int, latency_ns: int) -> Any:
    """Instant up to which a sensor that updates each `period_ns` has seen the power, at `now_ns`.

    Args:
        now_ns: Monotonic instant(s) of the query.
        phase_ns: Any instant at which the sensor updates.
        period_ns: Time between updates.
        latency_ns: Time between the end of what a value covers and its being readable.
    """
    return phase_ns + (now_ns - latency_ns - phase_ns) // period_ns * period_ns


def mix(x: Any) -> Any:
    """Scramble 64 bits (the finaliser of SplitMix64); ints, or arrays of uint64."""
    x = (x + 0x9E37_79B9_7F4A_7C15) & MASK_64
    x = ((x ^ (x >> 30)) * 0xBF58_476D_1CE4_E5B9) & MASK_64
    x = ((x ^ (x >> 27)) * 0x94D0_49BB_1331_11EB) & MASK_64
    return x ^ (x >> 31)


def uniform(seed: int, index: Any) -> Any:
    """Reproducible number(s) in [0, 1) for each `index` (ints, or arrays of uint64)."""
    return (mix(mix(seed & MASK_64) ^ (index & MASK_64)) >> 11) * 2.0**-53


def stall_s(
    now_ns: int,
    t0_ns: int,
    seed: int,
    hold_s: float,
    probability: float,
    limits_s: Any,
) -> float:
    """How long a call of the nvidia-smi-like tool that begins now stalls: the INJECTED fault.

    Args:
        now_ns: Monotonic instant of the call.
        t0_ns: From which good and bad periods are counted.
        seed: Of the fault.
        hold_s: Length of a period.
        probability: Share of bad periods.
        limits_s: Shortest and longest stall in a bad period.

    Returns:
        Seconds; 0 in a good period.
    """
    period = (now_ns - t0_ns) // round(hold_s * 1e9)
    if uniform(seed, period) >= probability:
        return 0.0
    shortest, longest = limits_s
    return float(shortest + (longest - shortest) * uniform(seed + 1, now_ns))


def low_power_w(idle_w: float, limit_w: float, share: float) -> float:
    """Power up to which a GPU counts as "at or near idle" for that fault."""
    return idle_w + share * (limit_w - idle_w)
