"""What a data set can say about itself: counts, instruments, gate, estimators, noise; for cards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wattproof.dataset.gate import MEASURED, excluded, included
from wattproof.dataset.lookup import METER

if TYPE_CHECKING:
    import pandas as pd

PREFIX, LOW, HIGH = "energy_j_", "energy_low_j_", "energy_high_j_"

RELATIVE = (
    *("node_energy_j", "gpu_energy_j", "smi_energy_j", "time_s"),
    *("inference_j_per_image", "latency_s"),
)
ABSOLUTE = ("val_accuracy", "test_accuracy")
"""Columns whose noise is told, relative to their value or as it is."""


@dataclass(frozen=True)
class EstimatorFacts:
    """An estimator of the node's energy against the meter, over the included runs that have both.

    Attributes:
        runs: How many.
        median_error: Median of (meter − estimate) / meter; positive: underestimated.
        largest_error: The largest of its absolute values.
        covered: Share of the meter's values inside its 90 % bounds; None without bounds.
    """

    runs: int
    median_error: float | None
    largest_error: float | None
    covered: float | None


@dataclass(frozen=True)
class NoiseFacts:
    """Spread between runs that differ in nothing but the seed.

    Attributes:
        std: Root of the mean variance; relative, of accuracies absolute.
        groups: Configurations that were trained more than once.
    """

    std: float
    groups: int


@dataclass(frozen=True)
class Facts:
    """Facts of a data set; everything but the first three counts is about the included runs.

    Attributes:
        runs: All runs, failed and left out ones too.
        failed: Runs that did not end well.
        excluded: How many runs the gate left out by each reason, failed ones not among them.
        included: Runs of which fits and the measured table are made.
        networks: Distinct realised networks.
        configurations: Distinct configurations.
        epochs: Rows of the curves.
        lengths: How many runs were trained for so many epochs.
        settings: How many runs by setting (single, packed, ddp).
        node_energy_by: How many runs have their node energy from whom; "" = from nobody.
        uncertainty: Median and largest half-width of the 90 % bounds of node energies, relative.
        known: Share of the runs in which a column is known.
        estimators: Each against the meter.
        smi_to_gpu: 5th, 50th and 95th percentile of nvidia-smi's energy over that by NVML.
        noise: By column; only where a configuration was trained twice.
        idle_w: Median idle power of the node.
        node_hours: Sum of the trainings' durations.
        node_kwh: Sum of their node energies, as far as these are known.
        flags: How many runs carry a quality flag.
    """

    runs: int
    failed: int
    excluded: Mapping[str, int]
    included: int
    networks: int
    configurations: int
    epochs: int
    lengths: Mapping[int, int]
    settings: Mapping[str, int]
    node_energy_by: Mapping[str, int]
    uncertainty: tuple[float, float] | None
    known: Mapping[str, float]
    estimators: Mapping[str, EstimatorFacts]
    smi_to_gpu: tuple[float, float, float] | None
    noise: Mapping[str, NoiseFacts]
    idle_w: float | None
    node_hours: float
    node_kwh: float
    flags: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as plain JSON: keys are text, nothing is NaN."""
        found = asdict(self)
        found["lengths"] = {str(length): count for length, count in self.lengths.items()}
        return found

    def sentences(self) -> list[str]:
        """Return what a card should say of it, a sentence or two each."""
        return [text for text in _sentences(self) if text]


def facts(dataset: pd.DataFrame, curves: pd.DataFrame) -> Facts:
    """Gather the facts of a data set.

    Args:
        dataset: Table ``dataset``.
        curves: Table ``curves``.
    """
    good = dataset[included(dataset)]
    ended = dataset[dataset["status"] == "ok"]
    out = excluded(ended)
    groups = _configurations(good)
    return Facts(
        runs=len(dataset),
        failed=len(dataset) - len(ended),
        excluded=_counts(out[out != ""]),
        included=len(good),
        networks=int(good["network_key"].nunique()),
        configurations=len(np.unique(groups)),
        epochs=len(curves),
        lengths=dict(sorted(Counter(good["epochs"].astype(int).tolist()).items())),
        settings=_counts(good["setting"]),
        node_energy_by=_counts(good["node_energy_by"]),
        uncertainty=_uncertainty(good),
        known={c: float(good[c].notna().mean()) for c in MEASURED if c in good and len(good)},
        estimators=_estimators(good),
        smi_to_gpu=_smi_to_gpu(good),
        noise=_noise(good, groups),
        idle_w=_median(_values(good, "idle_w")),
        node_hours=float(np.nansum(_values(good, "time_s"))) / 3600,
        node_kwh=float(np.nansum(_values(good, "node_energy_j"))) / 3.6e6,
        flags=_counts(flag for some in good["flags"] for flag in some),
    )


def _counts(names: Iterable[Any]) -> dict[str, int]:
    return dict(sorted(Counter(str(name) for name in names).items()))


def _values(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Return a column as floats, NaN where unknown; older data sets lack some columns."""
    if column not in frame:
        return np.full(len(frame), np.nan)
    return np.asarray(frame[column].to_numpy(dtype=np.float64, na_value=np.nan))


def _median(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def _configurations(good: pd.DataFrame) -> NDArray[np.int64]:
    """Return a number for each run: equal where everything but the seed is."""
    names = [c for c in good.columns if c.startswith("config_")]
    if not names:
        return np.arange(len(good), dtype=np.int64)
    numbers = good.groupby(names, dropna=False, sort=False).ngroup()
    return np.asarray(numbers.to_numpy(), dtype=np.int64)


def _uncertainty(good: pd.DataFrame) -> tuple[float, float] | None:
    value, low, high = (_values(good, f"node_energy_{part}j") for part in ("", "low_", "high_"))
    half = (high - low) / 2 / np.where(value > 0, value, np.nan)
    half = half[np.isfinite(half)]
    return (float(np.median(half)), float(half.max())) if len(half) else None


def _estimators(good: pd.DataFrame) -> dict[str, EstimatorFacts]:
    by_meter = good["node_energy_by"].to_numpy(dtype=str) == METER
    meter = np.where(by_meter, _values(good, "node_energy_j"), np.nan)
    found = {}
    for column in good.columns:
        if not str(column).startswith(PREFIX):
            continue
        name = str(column).removeprefix(PREFIX)
        value, low, high = (_values(good, f"{part}{name}") for part in (PREFIX, LOW, HIGH))
        error = (meter - value) / np.where(meter > 0, meter, np.nan)
        bounded = np.isfinite(meter) & np.isfinite(low) & np.isfinite(high)
        inside = ((meter >= low) & (meter <= high))[bounded]
        known = error[np.isfinite(error)]
        found[name] = EstimatorFacts(
            runs=len(known),
            median_error=float(np.median(known)) if len(known) else None,
            largest_error=float(np.abs(known).max()) if len(known) else None,
            covered=float(inside.mean()) if len(inside) else None,
        )
    return found


def _smi_to_gpu(good: pd.DataFrame) -> tuple[float, float, float] | None:
    gpu = _values(good, "gpu_energy_j")
    ratio = _values(good, "smi_energy_j") / np.where(gpu > 0, gpu, np.nan)
    ratio = ratio[np.isfinite(ratio)]
    if not len(ratio):
        return None
    low, middle, high = np.quantile(ratio, [0.05, 0.5, 0.95]).tolist()
    return low, middle, high


def _noise(good: pd.DataFrame, groups: NDArray[np.int64]) -> dict[str, NoiseFacts]:
    found = {}
    for column in (*RELATIVE, *ABSOLUTE):
        values = _values(good, column)
        variances, freedom, several = 0.0, 0, 0
        known = np.isfinite(values)
        order = np.argsort(groups[known], kind="stable")
        keys, members = groups[known][order], values[known][order]
        for some in np.split(members, np.flatnonzero(np.diff(keys)) + 1):
            if len(some) < 2 or (column in RELATIVE and some.mean() <= 0):
                continue
            scale = some.mean() if column in RELATIVE else 1.0
            variances += float(((some / scale - (some / scale).mean()) ** 2).sum())
            freedom += len(some) - 1
            several += 1
        if freedom:
            found[column] = NoiseFacts(float(np.sqrt(variances / freedom)), several)
    return found


def _sentences(of: Facts) -> Iterable[str]:
    left = sum(of.excluded.values())
    yield (
        f"{of.runs} trainings, of which {of.failed} failed and {left} were left out by the quality "
        f"gate; {of.included} trainings of {of.networks} distinct networks "
        f"({of.configurations} configurations) are what everything else rests on."
    )
    if of.excluded:
        yield "Left out: " + "; ".join(f"{why} ({n})" for why, n in of.excluded.items()) + "."
    lengths = ", ".join(f"{length} ({count})" for length, count in of.lengths.items())
    yield f"Epochs trained (runs): {lengths or 'none'}; {of.epochs} epochs in all."
    yield f"Sum: {of.node_hours:.1f} node-hours, {of.node_kwh:.1f} kWh."
    by = ", ".join(f"{who or 'unknown'} ({n})" for who, n in of.node_energy_by.items())
    yield f"Node energy by: {by or 'nobody'}."
    if of.uncertainty:
        middle, most = of.uncertainty
        yield (
            "Measurement uncertainty of a run's node energy (half of the 90 % interval): median "
            f"{middle:.2%}, largest {most:.2%}."
        )
    for name, one in of.estimators.items():
        if one.median_error is None or one.largest_error is None:
            continue
        covers = "" if one.covered is None else f"; its 90 % bounds hold {one.covered:.1%} of them"
        yield (
            f"Estimator {name} against the meter, {one.runs} runs: median error "
            f"{one.median_error:+.2%} (positive: too low), largest {one.largest_error:.2%}{covers}."
        )
    if of.smi_to_gpu:
        low, middle, high = of.smi_to_gpu
        yield (
            f"Energy by nvidia-smi over that by NVML of the same GPUs: median {middle:.1%}; of 5 % "
            f"of the runs at most {low:.1%}, of 5 % at least {high:.1%}."
        )
    if of.noise:
        told = ", ".join(
            f"{column} {one.std:.2%}" if column in RELATIVE else f"{column} {one.std:.4f}"
            for column, one in of.noise.items()
        )
        groups = max(one.groups for one in of.noise.values())
        yield f"Noise of {groups} configurations trained more than once: {told}."
    else:
        yield "No configuration was trained more than once, so the noise is unknown."
    flags = ", ".join(f"{name} ({count})" for name, count in of.flags.items())
    yield f"Quality flags of these runs: {flags or 'none'}."
