"""Formulas that the model and the nvidia-smi-like executable must share, to the last bit.

Standard library only: the executable is started for each sample, and importing NumPy would cost it
several times its own run time. All functions take floats and ints as well as NumPy arrays.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take the name as true; importing `typing` would cost time
if TYPE_CHECKING:
    from typing import Any

MASK_64 = 0xFFFF_FFFF_FFFF_FFFF

AWAKE = 0.111
"""Load of the multiprocessors while a process keeps the clocks up and nothing runs. FITTED, see
`load`; on preset `paper` 127 W. H100s with a CUDA context and nothing to do draw 110 to 130 W."""

RESIDENT = 0.3785
"""… and while kernels run that do next to no arithmetic. FITTED, see `load`."""


def gpu_power_w(
    compute: Any,
    memory: Any,
    idle_w: float,
    limit_w: float,
    compute_weight: float,
) -> Any:
    """True power of a GPU in watts; monotone in both loads, `idle_w` at 0, `limit_w` at 1.

    Args:
        compute: Load of its multiprocessors, 0 to 1.
        memory: Load of its memory, caches included, 0 to 1.
        idle_w: Power at no load.
        limit_w: Power at full load of both.
        compute_weight: Share of compute in the dynamic power, 0 to 1.
    """
    share = compute_weight * compute + (1.0 - compute_weight) * memory
    return idle_w + (limit_w - idle_w) * share


def utilisation(compute: Any) -> Any:
    """Share of time (0 to 1) in which any kernel runs: it saturates long before power does.

    Of the load of the multiprocessors, as if it did no arithmetic.
    """
    x = (compute - AWAKE) / (RESIDENT - AWAKE)
    return (abs(x) - abs(x - 1.0) + 1.0) / 2.0  # clipped, for floats and for arrays


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
