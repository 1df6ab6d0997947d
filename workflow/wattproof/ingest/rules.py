"""Named rules by which published energies were computed; pure functions.

They are kept apart from `wattproof.energy`: they reproduce what others published, with its faults,
and are never used to measure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wattproof.errors import WattproofError
from wattproof.units import ns_to_s

MLPERF_TRAINING = "mlperf_training_v4"
"""Name of the rule of MLPerf Training v4 in table ``published``."""


def _series(t_ns: ArrayLike, power_w: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Check a power log and sort it by time (stable: equal stamps keep their order)."""
    times = np.asarray(t_ns)
    power = np.asarray(power_w, dtype=np.float64)
    if times.size and not np.issubdtype(times.dtype, np.integer):
        raise WattproofError(
            f"The times of a power log are {times.dtype}, not int64 nanoseconds; "
            "floats cannot hold an instant."
        )
    times = times.astype(np.int64)
    if times.ndim != 1 or times.shape != power.shape:
        raise WattproofError(
            f"A power log has {times.size} times and {power.size} readings; give as many of each."
        )
    if not np.isfinite(power).all():
        raise WattproofError(
            "A power log holds readings that are no finite number; leave failed reads out."
        )
    order = np.argsort(times, kind="stable")
    return times[order], power[order]


def mlperf_training_energy_j(
    t_ns: ArrayLike,
    power_w: ArrayLike,
    run_start_ns: int,
    run_stop_ns: int,
    *,
    log_start_ns: int | None = None,
    conversion_efficiency: float = 1.0,
) -> float:
    """Energy of one run by the official rule of MLPerf Training: mean of the whole log × duration.

    The mean power is sum(reading × time since the previous reading) / (last − first), and the
    log begins at its mark ``power_measurement_start``: this is the instant before the first
    reading. The mean runs over the whole log, also where it is longer than the run: idle time
    before and after is averaged in. (mlcommons/logging, ``result_summarizer.py``, function
    ``_compute_power_node``. Later versions divide by ``power_measurement_stop − start``; in the
    v4.0 logs of 8x H100 that mark is either the last reading's instant or a copy of the start's,
    so the last reading ends the log here.)

    Args:
        t_ns: Stamps of the good readings, int64 nanoseconds, shape (n,).
        power_w: Readings in watts, shape (n,).
        run_start_ns: Begin of the run.
        run_stop_ns: End of the run.
        log_start_ns: Instant of ``power_measurement_start``. None: the log begins at its first
            reading, which then only sets the clock. Readings before it do not count.
        conversion_efficiency: Factor that the log itself states (key ``conversion_eff``).

    Returns:
        Joules.

    Raises:
        WattproofError: Fewer than two stamps, a run of no length, or unusable values.
    """
    times, power = _series(t_ns, power_w)
    if run_stop_ns <= run_start_ns:
        raise WattproofError(
            f"A run ends at {run_stop_ns} ns, not after its begin at {run_start_ns} ns; "
            "correct the run window."
        )
    if log_start_ns is not None:
        counted = times >= log_start_ns
        times = np.concatenate([np.array([log_start_ns], dtype=np.int64), times[counted]])
        power = np.concatenate([np.zeros(1), power[counted]])
    if times.size < 2 or times[-1] == times[0]:
        raise WattproofError(
            "A power log has no two good readings at different times, so it has no mean power; "
            "check the file or leave the run out."
        )
    # Differences of int64 are exact; only they become floats.
    steps = np.diff(times).astype(np.float64)
    mean_w = float(power[1:] @ steps) / float(times[-1] - times[0])
    return conversion_efficiency * mean_w * ns_to_s(run_stop_ns - run_start_ns)


def mlperf_training_selection(
    times_to_train_s: Sequence[float], *, failed: int = 0, dropped: int = 1
) -> list[int]:
    """Indices of the runs that count, in order of time to train.

    Args:
        times_to_train_s: Of the runs that reached the target.
        failed: Runs that did not; each takes the place of one of the slowest.
        dropped: Runs left out at each end (1; unet3d: 4).

    Raises:
        WattproofError: More runs failed than may be dropped, or none is left.
    """
    if failed > dropped:
        raise WattproofError(
            f"{failed} runs failed, but the rule of MLPerf Training drops only {dropped} slow "
            "run(s), so there is no result."
        )
    order = sorted(range(len(times_to_train_s)), key=lambda i: times_to_train_s[i])
    kept = order[dropped : max(dropped, len(order) - (dropped - failed))]
    if not kept:
        raise WattproofError(
            f"{len(order)} good run(s) are too few: the rule of MLPerf Training drops the "
            f"{dropped} fastest and the {dropped} slowest and averages the rest."
        )
    return kept


def mlperf_training_result(
    energies_j: Sequence[float],
    times_to_train_s: Sequence[float],
    scaling_factor: float = 1.0,
    *,
    failed: int = 0,
    dropped: int = 1,
) -> float:
    """Published energy of a benchmark from its runs.

    Without the fastest and the slowest run *by time to train* (not by energy), averaged, times
    the scaling factor that the review committee filed (mlcommons/logging,
    ``result_summarizer.py``, functions ``_index_olympic_average`` and ``_get_scaling_factor``).

    Args:
        energies_j: Of the runs that reached the target.
        times_to_train_s: Of the same runs, in the same order.
        scaling_factor: From ``scaling.json``; 1.0 where there is none.
        failed: See `mlperf_training_selection`.
        dropped: See `mlperf_training_selection`.

    Returns:
        Joules.

    Raises:
        WattproofError: The lists differ in length, or too few runs are left.
    """
    if len(energies_j) != len(times_to_train_s):
        raise WattproofError(
            f"There are {len(energies_j)} energies but {len(times_to_train_s)} times to train; "
            "give one of each for every run."
        )
    kept = mlperf_training_selection(times_to_train_s, failed=failed, dropped=dropped)
    return scaling_factor * sum(energies_j[i] for i in kept) / len(kept)


def trapezoid_j(
    t_ns: ArrayLike,
    power_w: ArrayLike,
    start_ns: int,
    end_ns: int,
    *,
    max_edge_ns: int,
) -> float | None:
    """Plain trapezoid over [start, end): the physical energy of a window, for comparison.

    Between readings power is linear, holes included; a window that reaches beyond the log is
    filled with the nearest reading, but for no more than `max_edge_ns` at either end.

    Args:
        t_ns: Stamps of the good readings, int64 nanoseconds, shape (n,).
        power_w: Readings in watts, shape (n,).
        start_ns: Begin of the window.
        end_ns: End of the window.
        max_edge_ns: Longest time filled in at either end.

    Returns:
        Joules; None if the log covers too little of the window.

    Raises:
        WattproofError: Unusable values.
    """
    times, power = _series(t_ns, power_w)
    if end_ns <= start_ns:
        raise WattproofError(
            f"A window ends at {end_ns} ns, not after its begin at {start_ns} ns; correct it."
        )
    if not times.size:
        return None
    if int(times[0]) - start_ns > max_edge_ns or end_ns - int(times[-1]) > max_edge_ns:
        return None
    if int(times[-1]) < start_ns or int(times[0]) > end_ns:
        return None
    # Relative to the window's begin the nanoseconds fit exactly into floats.
    relative = (times - start_ns).astype(np.float64)
    end = float(end_ns - start_ns)
    inside = (relative > 0) & (relative < end)
    edges = np.interp([0.0, end], relative, power)
    grid = np.concatenate([[0.0], relative[inside], [end]])
    values = np.concatenate([edges[:1], power[inside], edges[1:]])
    return ns_to_s(float(np.trapezoid(values, grid)))


MLPERF_INFERENCE = "mlperf_inference_v2"
"""Name of the rule of MLPerf Inference v2 in table ``published``."""

MLPERF_INFERENCE_TOLERANCE_W = 0.001
"""Published means have this resolution."""


def mlperf_inference_mean_w(
    t_ns: ArrayLike, power_w: ArrayLike, begin_ns: int, end_ns: int
) -> tuple[float, int]:
    """Mean power by the official rule of MLPerf Inference: plain mean of the readings in between.

    Readings above 0 W count whose stamp lies strictly between power_begin and power_end, each with
    the same weight whatever its distance from the next, and without correction of the meter's
    clock (mlcommons/inference, ``submission_checker``, function ``get_power_metric``; both logs'
    local times are compared as they stand there, so the rule works in one time zone only).

    Args:
        t_ns: Stamps of the good readings by the meter's machine, on the loadgen log's time zone.
        power_w: Watts, same shape.
        begin_ns: power_begin.
        end_ns: power_end.

    Returns:
        Mean power and the number of readings.

    Raises:
        WattproofError: No reading lies in between.
    """
    times, power = _series(t_ns, power_w)
    inside = power[(times > begin_ns) & (times < end_ns) & (power > 0)]
    if not inside.size:
        raise WattproofError("No reading lies between power_begin and power_end.")
    return float(inside.mean()), int(inside.size)
