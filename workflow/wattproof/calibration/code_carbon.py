"""Code Carbon's default node estimate, with the memory rules of both generations.

``E = RAPL packages + NVML counters of all GPUs + memory power · t``. Measured DRAM is not part of
it (``rapl_include_dram`` is off by default); memory power is a rule of the installed size, see
measurement.md sections 7.1 and 7.2 (read in the source of 2.8.4 and 3.x).
"""

from __future__ import annotations

import math

import numpy as np

from wattproof.calibration.base import Inputs, Outcome, Parameter, estimator, missing_cheap, refuse

W_PER_GIB_2X = 3.0 / 8.0
"""Up to 2.8.4: 3 W per 8 GiB of installed memory."""

W_PER_DIMM = 5.0
W_PER_DIMM_ARM = 1.5
MIN_DIMMS = 2
"""The power of so many modules is the least that 3.x assumes."""

SMALL = ((2.0, 1), (16.0, 2), (64.0, 4), (128.0, 8))
"""Modules assumed up to a size in GiB: 1 up to 2 GiB, 2 up to 16, 4 up to 64, 8 up to 128."""

MODULES_GIB = (128, 64, 32, 16, 8, 4)
MAX_DIMMS = 32

WEIGHTS = ((4, 1.0), (4, 0.9), (8, 0.8), (MAX_DIMMS - 16, 0.7))
"""Weight of the first 4 modules, the next 4, the next 8, and all further ones."""


def ram_2x_w(memory_gib: float) -> float:
    """Return the memory power of Code Carbon up to 2.8.4, on any processor, in watts."""
    return W_PER_GIB_2X * memory_gib


def dimms(memory_gib: float) -> int:
    """Return the number of memory modules that Code Carbon 3.x assumes."""
    for size, count in SMALL:
        if memory_gib <= size:
            return count
    module = next(size for size in MODULES_GIB if size <= memory_gib / 8)
    return min(MAX_DIMMS, math.ceil(memory_gib / module))


def ram_3x_w(memory_gib: float, arm: bool = False) -> float:
    """Return the memory power of Code Carbon 3.x in watts.

    The size is what the operating system sees, a little below the nominal size: a nominal 256 GiB
    server counts as 16 modules (70 W), an exact 256 GiB as 8 (38 W).
    """
    each = W_PER_DIMM_ARM if arm else W_PER_DIMM
    left, power = dimms(memory_gib), 0.0
    for count, weight in WEIGHTS:
        power += each * weight * min(left, count)
        left -= min(left, count)
    return max(MIN_DIMMS * each, power)


def _estimate(inputs: Inputs, ram_w: float | None, of_job: bool = False) -> Outcome:
    if inputs.memory_gib is None or ram_w is None:
        return refuse(
            inputs,
            "the size of the node's memory is unknown (add the source host, or set memory_gib)",
        )
    lacking = missing_cheap(inputs.targets)
    if lacking:
        return refuse(inputs, lacking)
    targets = inputs.targets
    gpu_j = targets["gpu_j"] - targets["others_j"] if of_job else targets["gpu_j"]
    energy = targets["packages_j"] + gpu_j + ram_w * targets["duration_s"]
    nothing = np.full(len(targets), np.nan)
    return Outcome(
        energy.to_numpy(np.float64),
        nothing,
        nothing,
        {
            "ram_w": Parameter(ram_w, "W"),
            "memory_gib": Parameter(inputs.memory_gib, "GiB"),
        },
        held_out="no parameter is fitted",
    )


@estimator("code_carbon", "Code Carbon 3.x")
def code_carbon(inputs: Inputs) -> Outcome:
    """Code Carbon 3.x: packages, GPUs, and 5 W per assumed memory module."""
    gib = inputs.memory_gib
    return _estimate(inputs, None if gib is None else ram_3x_w(gib, inputs.arm))


@estimator("code_carbon_2x", "Code Carbon 2.x")
def code_carbon_2x(inputs: Inputs) -> Outcome:
    """Code Carbon up to 2.8.4: packages, GPUs, and 0.375 W per GiB."""
    gib = inputs.memory_gib
    return _estimate(inputs, None if gib is None else ram_2x_w(gib))


@estimator("code_carbon_2x_job", "Code Carbon 2.x, the job's GPUs")
def code_carbon_2x_job(inputs: Inputs) -> Outcome:
    """Code Carbon up to 2.8.4 inside a job: it tracks the GPUs of CUDA_VISIBLE_DEVICES only.

    So idle GPUs of the node are left out, which its constant for memory partly makes up for
    (paper.md, section 9: the paper's 10.3 % fits one tracked GPU, hardly four).
    """
    gib = inputs.memory_gib
    return _estimate(inputs, None if gib is None else ram_2x_w(gib), of_job=True)
