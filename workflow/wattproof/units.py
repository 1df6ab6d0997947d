"""Unit conversions: the only place where factors between units stand.

Inside the package everything is SI: joules, watts, seconds, and int64 nanoseconds for instants.
"""

from __future__ import annotations

NS_PER_S = 1_000_000_000
J_PER_WH = 3_600.0
S_PER_H = 3_600.0
J_PER_KWH = 3_600_000.0


def ns_to_s(duration_ns: float) -> float:
    """Convert a *duration* in nanoseconds to seconds. Instants stay int64 nanoseconds."""
    return duration_ns / NS_PER_S


def s_to_ns(duration_s: float) -> int:
    """Convert a duration in seconds to whole nanoseconds."""
    return round(duration_s * NS_PER_S)


def mw_to_w(power_mw: float) -> float:
    """Convert milliwatts (NVML) to watts."""
    return power_mw / 1_000.0


def mj_to_j(energy_mj: float) -> float:
    """Convert millijoules (NVML's counter) to joules."""
    return energy_mj / 1_000.0


def uj_to_j(energy_uj: float) -> float:
    """Convert microjoules (RAPL) to joules."""
    return energy_uj / 1_000_000.0


def j_to_wh(energy_j: float) -> float:
    """Convert joules to watt-hours."""
    return energy_j / J_PER_WH


def j_to_kwh(energy_j: float) -> float:
    """Convert joules to kilowatt-hours."""
    return energy_j / J_PER_KWH


def wh_to_j(energy_wh: float) -> float:
    """Convert watt-hours to joules."""
    return energy_wh * J_PER_WH


def kwh_to_j(energy_kwh: float) -> float:
    """Convert kilowatt-hours to joules."""
    return energy_kwh * J_PER_KWH
