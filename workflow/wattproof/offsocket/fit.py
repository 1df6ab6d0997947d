"""Off-socket power by load, and as a function of CPU and GPU power (paper.md section 5, eq. 4).

Which value to use is a choice with a price:

* ``idle``: the mean over idle windows. Independent of NVML's gain (at idle power a gain error is
  worth little), but too low under load: fans and power supply losses grow.
* load-matched: ``P_busy = b0 + b1·P_packages + b2·P_gpu + b3·P_dram``, fitted to all calibration
  windows. CPU and memory have slopes of their own where the loads tell them apart (prime keeps
  memory idle, stress does not): what stands behind them on the board differs, and a training loads
  memory more than CPUs. Where they do not, b3 = b1. The GPU power in the fit comes from NVML
  itself, so it is *circular*: a constant gain error of NVML looks like off-socket power that grows
  with GPU power and goes into b2, as long as b2 stays positive. A comparison of NVML with this
  reference therefore shows noise, missing samples, wrong windows, offsets that change and
  non-linearity, but **not** a constant gain error; the idle variant does show one, mixed with the
  growth of the off-socket power.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from wattproof.errors import WattproofError
from wattproof.offsocket.balance import missing_parts, node_balance

F64Array = NDArray[np.float64]

LOADS = ("idle", "prime", "stress", "gpu")
"""Calibration loads that off-socket power is determined under; ``sync`` is too unsteady."""

MIN_WINDOWS = 3
"""Windows needed for a model with three coefficients."""

MIN_WINDOWS_APART = 4
"""… and of one with four."""

MIN_SPREAD_W = 2.0
"""An input that varies by less between the calibration windows gets no slope of its own."""

MARGIN = 0.5
"""The model is used this share of the calibrated span beyond its ends, and no further."""


@dataclass(frozen=True, slots=True)
class LoadPower:
    """Off-socket power under one load.

    Attributes:
        mean_w: Mean over the repeats.
        sd_w: Standard deviation over the repeats; None for a single one.
        n: Repeats.
        u_w: Standard uncertainty of the mean from the spread, sd/√n; None for a single repeat.
    """

    mean_w: float
    sd_w: float | None
    n: int
    u_w: float | None


@dataclass(frozen=True, slots=True)
class LoadModel:
    """``P_busy = b0_w + b1·P_packages + b2·P_gpu + b3·P_dram`` with b1, b2, b3 ≥ 0.

    Attributes:
        b0_w: Intercept.
        b1: Per watt of CPU packages.
        b2: Per watt of all GPUs, by NVML.
        b3: Per watt of DRAM; as b1 where the calibration loads do not tell them apart.
        residual_w: Root mean square residual of the calibration windows.
        n: Windows fitted.
        socket_range_w: Smallest and largest CPU and memory power of the calibration windows.
        gpu_range_w: The same for the power of all GPUs.
    """

    b0_w: float
    b1: float
    b2: float
    b3: float
    residual_w: float
    n: int
    socket_range_w: tuple[float, float]
    gpu_range_w: tuple[float, float]


@dataclass(frozen=True)
class OffSocket:
    """Off-socket power of a node.

    Attributes:
        by_kind: Power under each load that was recorded.
        model: The load-matched model; None if refused.
        refused: Why there is no off-socket power at all; empty if there is.
        model_refused: Why there is no load-matched model; empty if there is one.
        windows: The calibration windows used: window_id, recording, kind, duration_s, and mean
            powers meter_w, packages_w, dram_w, socket_w, gpu_w, busy_w.
    """

    by_kind: Mapping[str, LoadPower]
    model: LoadModel | None
    refused: str
    model_refused: str
    windows: pd.DataFrame = field(repr=False, compare=False)

    def power_w(self, kind: str) -> float:
        """Return the mean off-socket power under a load.

        Raises:
            WattproofError: If that load was not recorded, with the reason.
        """
        if kind not in self.by_kind:
            raise WattproofError(f"Off-socket power under '{kind}' is unknown: {self.why(kind)}.")
        return self.by_kind[kind].mean_w

    def why(self, kind: str) -> str:
        """Say why the power under a load is unknown; empty if it is known."""
        if kind in self.by_kind:
            return ""
        return self.refused or (
            f"no usable '{kind}' window was recorded (add it to calibration.loads)"
        )

    def _model(self) -> LoadModel:
        if self.model is None:
            raise WattproofError(f"No load-matched off-socket power: {self.model_refused}.")
        return self.model

    def load_matched_w(self, socket_w: ArrayLike, gpu_w: ArrayLike, dram_w: ArrayLike) -> F64Array:
        """Return the off-socket power at given CPU + memory power and total GPU power.

        Args:
            socket_w: Power of packages and DRAM, any shape.
            gpu_w: Power of all GPUs, the same shape.
            dram_w: DRAM's part of `socket_w`; NaN on a node without a DRAM domain.

        Returns:
            Watts; NaN where an input is NaN or out of range (see `in_range`).

        Raises:
            WattproofError: If there is no model, with the reason.
        """
        model = self._model()
        socket, gpu = np.asarray(socket_w, np.float64), np.asarray(gpu_w, np.float64)
        busy = model.b0_w + self._socket_part_w(socket, dram_w) + model.b2 * gpu
        return np.where(self.in_range(socket, gpu), busy, np.nan)

    def _socket_part_w(self, socket_w: F64Array, dram_w: ArrayLike) -> F64Array:
        """Return what of the off-socket power goes with CPUs and memory."""
        model = self._model()
        part: F64Array = model.b1 * socket_w
        if model.b3 != model.b1:
            part = part + (model.b3 - model.b1) * np.asarray(dram_w, np.float64)
        return part

    def in_range(self, socket_w: ArrayLike, gpu_w: ArrayLike) -> NDArray[np.bool_]:
        """Tell where the model may be used: the calibrated range, widened by `MARGIN`."""
        model = self._model()
        inside = np.asarray(True)
        for value, (low, high) in (
            (np.asarray(socket_w, np.float64), model.socket_range_w),
            (np.asarray(gpu_w, np.float64), model.gpu_range_w),
        ):
            margin = max(MARGIN * (high - low), MIN_SPREAD_W)
            inside = inside & (value >= low - margin) & (value <= high + margin)
        return inside

    def gpu_total_w(
        self, meter_w: ArrayLike, socket_w: ArrayLike, dram_w: ArrayLike, variant: str = "load"
    ) -> F64Array:
        """Return the power of all GPUs that the node balance leaves over (paper.md eq. 2).

        With the load-matched variant, eq. 2 holds with the off-socket power at the very GPU power
        that comes out, so it is solved for that:
        ``(meter − socket − b0 − b1·packages − b3·DRAM)/(1 + b2)``.
        NVML's reading of the window itself does not enter.

        Args:
            meter_w: Power of the node.
            socket_w: Power of packages and DRAM, the same shape.
            dram_w: DRAM's part of it; NaN on a node without a DRAM domain.
            variant: "load" or "idle".

        Returns:
            Watts; NaN where an input is unknown or out of the model's range.

        Raises:
            WattproofError: If the variant is not known or its off-socket power is not.
        """
        meter, socket = np.asarray(meter_w, np.float64), np.asarray(socket_w, np.float64)
        if variant == "idle":
            return meter - socket - self.power_w("idle")
        if variant != "load":
            raise WattproofError(
                f"analysis.off_socket is '{variant}'; it must be 'load' or 'idle'."
            )
        model = self._model()
        gpu = meter - socket - model.b0_w - self._socket_part_w(socket, dram_w)
        gpu = gpu / (1.0 + model.b2)
        return np.where(self.in_range(socket, gpu), gpu, np.nan)


def _load_power(busy_w: F64Array) -> LoadPower:
    n = len(busy_w)
    if n < 2:
        return LoadPower(float(busy_w[0]), None, n, None)
    sd = float(np.std(busy_w, ddof=1))
    return LoadPower(float(np.mean(busy_w)), sd, n, sd / float(np.sqrt(n)))


def _fit_model(windows: pd.DataFrame) -> tuple[LoadModel | None, str]:
    """Least squares with non-negative slopes and a free intercept, every window alike."""
    if len(windows) < MIN_WINDOWS:
        return None, f"only {len(windows)} usable calibration windows, {MIN_WINDOWS} are needed"
    from scipy.optimize import nnls

    apart = _tells_memory_apart(windows)
    first = "packages_w" if apart else "socket_w"
    names = [first, "gpu_w", "dram_w"] if apart else [first, "gpu_w"]
    inputs = windows[names].to_numpy(np.float64)
    busy = windows["busy_w"].to_numpy(np.float64)
    varies = np.ptp(inputs, axis=0) >= MIN_SPREAD_W
    if not varies.any():
        return None, (
            f"CPU and GPU power vary by less than {MIN_SPREAD_W:g} W between the calibration "
            "windows (add prime, stress and gpu to calibration.loads, "
            "or set analysis.off_socket to idle)"
        )
    # Centred columns leave the intercept free: it is what the means need.
    centre, level = inputs.mean(axis=0), float(busy.mean())
    slopes = np.zeros(len(names))
    slopes[varies] = nnls((inputs - centre)[:, varies], busy - level)[0]
    intercept = level - float(centre @ slopes)
    residual = busy - intercept - inputs @ slopes
    ranges = [(float(windows[n].min()), float(windows[n].max())) for n in ("socket_w", "gpu_w")]
    return LoadModel(
        b0_w=intercept,
        b1=float(slopes[0]),
        b2=float(slopes[1]),
        b3=float(slopes[-1] if apart else slopes[0]),
        residual_w=float(np.sqrt(np.mean(residual**2))),
        n=len(windows),
        socket_range_w=ranges[0],
        gpu_range_w=ranges[1],
    ), ""


def _tells_memory_apart(windows: pd.DataFrame) -> bool:
    """Whether DRAM power varies by itself in the calibration, not only with CPU and GPU power."""
    columns = ["packages_w", "gpu_w", "dram_w"]
    if len(windows) < MIN_WINDOWS_APART or windows[columns].isna().any(axis=None):
        return False
    values = windows[columns].to_numpy(np.float64)
    values = values - values.mean(axis=0)
    along = np.linalg.lstsq(values[:, :2], values[:, 2], rcond=None)[0]
    own = values[:, 2] - values[:, :2] @ along
    return bool(np.sqrt(np.mean(own**2)) >= MIN_SPREAD_W)


def _refusal(found: pd.DataFrame, usable: pd.DataFrame) -> str:
    if found.empty:
        return "there are no calibration windows (add idle to calibration.loads)"
    if usable.empty:
        return f"{missing_parts(found)} in the calibration windows"
    idle = usable.loc[usable["kind"] == "idle", "busy_w"]
    if idle.empty:
        return "there is no usable idle window (add idle to calibration.loads)"
    if float(idle.mean()) < 0.0:
        return (
            f"off-socket power at idle is {float(idle.mean()):.1f} W: the meter shows less than "
            "CPU, memory and GPUs together, so check the meter's wiring and range"
        )
    return ""


def fit(energy: pd.DataFrame) -> OffSocket:
    """Determine off-socket power from the calibration windows (level load) of a campaign.

    Args:
        energy: Table ``energy``.

    Returns:
        Power by load and the load-matched model; where the data cannot carry them, the reason.
    """
    balance = node_balance(energy[energy["level"] == "load"]).reset_index()
    found = balance[balance["kind"].isin(LOADS)]
    usable = found[found["busy_w"].notna()]
    columns = ["window_id", "recording", "kind", "duration_s"]
    powers = ["meter_w", "packages_w", "dram_w", "socket_w", "gpu_w", "busy_w"]
    windows = usable[[*columns, *powers]].reset_index(drop=True)
    refused = _refusal(found, usable)
    if refused:
        return OffSocket({}, None, refused, refused, windows)
    by_kind = {
        kind: _load_power(windows.loc[windows["kind"] == kind, "busy_w"].to_numpy(np.float64))
        for kind in LOADS
        if (windows["kind"] == kind).any()
    }
    model, model_refused = _fit_model(windows)
    return OffSocket(by_kind, model, "", model_refused, windows)
