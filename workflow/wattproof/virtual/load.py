"""The load model: how long a step takes, and how much of the node it keeps busy.

One model for all search spaces: operations, bytes and launch gaps of the realised network against
the limits of the device (`roofline`), and the input pipeline beside it. Power is linear in two
loads (`formula.gpu_power_w`), which are means over a step, waiting included:

* ``gpu_compute`` = AWAKE + (RESIDENT - AWAKE) * u + (1 - RESIDENT) * c: multiprocessors draw some
  power as soon as a process keeps the clocks up, more while kernels run (u: share of the step), and
  the rest with arithmetic (c: share of the rate that large products sustain);
* ``gpu_memory`` = min(1, m + c): traffic of the memory (m: share of its bandwidth) and of caches
  and shared memory, which feed the arithmetic. So large products at their sustained rate draw the
  power limit, as real boards do: it is the limit that sets that rate.

What was FITTED, to what (arXiv 2505.15631, preset `paper`, recipe of EA-HAS-Bench: Tiny ImageNet at
32 pixels, batch 1024, mixed precision, fed by loaders), before space `wide` was designed:

=================== ==========================================================================
`formula.AWAKE`     the least of all 38,516 networks draws 146 W while it trains
`formula.RESIDENT`  … and the most 305 W
`roofline.GROUPED`  epochs of 11.8 s on average over the twin's networks
`feed_hz`           (preset) their median draws 225 W, the power that the node's 1400 W were
                    back-computed for
=================== ==========================================================================

`tests/virtual/test_virtual_load.py` checks the four. Nothing was fitted to any other space or
preset. Loads of the host are ASSUMED: loaders read ahead whatever the GPU does.
"""

from __future__ import annotations

from dataclasses import dataclass

from wattproof.errors import WattproofError, did_you_mean
from wattproof.space.regnet import Network
from wattproof.virtual import roofline
from wattproof.virtual.formula import AWAKE, RESIDENT
from wattproof.virtual.presets import Parameters

HALF_PIXELS = 1024 * 32 * 32
"""Pixels a step that keep the host's loaders half busy."""

PIXELS_EXPONENT = 0.5

SERIAL = 0.1
"""Loading overlaps with computing, but for this share of the shorter of the two."""

ALL_REDUCE = 1.15
"""A step on several GPUs waits for the others."""

PHASES = ("input", "train", "eval")
FEEDS = ("loader", "device")


@dataclass(frozen=True, slots=True)
class Load:
    """What is kept busy, each 0 to 1; the arguments of `ActivityWriter.publish`.

    Attributes:
        gpu_compute: Multiprocessors of the GPU.
        gpu_memory: Memory of the GPU, caches included.
        cpu_load: CPUs of the node.
        dram_load: Memory bandwidth of the node.
    """

    gpu_compute: float = 0.0
    gpu_memory: float = 0.0
    cpu_load: float = 0.0
    dram_load: float = 0.0


CALIBRATION_LOADS = {
    "idle": Load(),
    "prime": Load(cpu_load=1.0, dram_load=0.05),
    "stress": Load(cpu_load=1.0, dram_load=1.0),
    "gpu": Load(gpu_compute=1.0, gpu_memory=1.0, cpu_load=0.05, dram_load=0.05),
}
"""Loads of the calibration recording: nothing, prime numbers (caches only), Firestarter-like
CPU and memory stress, one GPU at its limit."""

LAUNCHING = Load(cpu_load=0.03, dram_load=0.03)
"""ASSUMED: with data on the device, one thread of the host launches kernels."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a phase.

    Attributes:
        seconds: Its length, waiting included.
        gpu_s: Of these, the GPU's own part, gaps between launches included.
        busy: Share of the step in which kernels run (u).
        arithmetic: Share of the sustained rate (c).
        bandwidth: Share of the memory's bandwidth (m).
        load: What all this comes to.
    """

    seconds: float
    gpu_s: float
    busy: float
    arithmetic: float
    bandwidth: float
    load: Load


def step(
    network: Network,
    phase: str,
    batch_size: int,
    parameters: Parameters,
    precision: str = "amp",
    feed: str = "loader",
    gpus: int = 1,
) -> Step:
    """Return what a step of a phase takes and keeps busy.

    Args:
        network: What is built, with its resolution.
        phase: ``train`` or ``eval`` (forward only).
        batch_size: Images a step, all GPUs together.
        parameters: Of the node.
        precision: ``fp32`` or ``amp``.
        feed: ``loader`` (the host reads, augments and copies) or ``device`` (data lie there).
        gpus: The batch is split over so many.

    Raises:
        WattproofError: Phase, precision or feed is unknown.
    """
    _known(phase, ("train", "eval"), "training phase")
    _known(feed, FEEDS, "feeding")
    train = phase == "train"
    gpu = roofline.gpu_step(network, -(-batch_size // gpus), parameters.gpu, precision, train)
    gpu_s = gpu.seconds * (ALL_REDUCE if gpus > 1 and train else 1.0)
    pixels = batch_size * network.resolution**2
    input_s = pixels / parameters.cpu.feed_hz if feed == "loader" else 0.0
    seconds = max(gpu_s, input_s) + SERIAL * min(gpu_s, input_s)
    busy, arithmetic, bandwidth = (
        part / seconds for part in (gpu.kernels_s, gpu.arithmetic_s, gpu.bandwidth_s)
    )
    compute = AWAKE + (RESIDENT - AWAKE) * busy + (1.0 - RESIDENT) * arithmetic
    host = _host(pixels, "eval") if feed == "loader" else LAUNCHING
    load = Load(compute, min(1.0, bandwidth + arithmetic), host.cpu_load, host.dram_load)
    return Step(seconds, gpu_s, busy, arithmetic, bandwidth, load)


def training_load(
    network: Network,
    phase: str,
    batch_size: int,
    parameters: Parameters,
    precision: str = "amp",
    feed: str = "loader",
    gpus: int = 1,
) -> Load:
    """Load of one training on its slot and on the node; `input`: the GPU waits for data.

    Args and errors as those of `step`.
    """
    _known(phase, PHASES, "training phase")
    if phase == "input":
        _known(feed, FEEDS, "feeding")
        host = LAUNCHING
        if feed == "loader":
            host = _host(batch_size * network.resolution**2, phase)
        return Load(AWAKE, 0.0, host.cpu_load, host.dram_load)
    return step(network, phase, batch_size, parameters, precision, feed, gpus).load


def _host(pixels: int, phase: str) -> Load:
    """Return the host's loads with loaders that have so many pixels a step to deliver."""
    x = (pixels / HALF_PIXELS) ** PIXELS_EXPONENT
    feed = x / (1.0 + x)
    if phase == "input":
        return Load(cpu_load=0.30 + 0.40 * feed, dram_load=0.20 + 0.60 * feed)
    return Load(cpu_load=0.10 + 0.20 * feed, dram_load=0.10 + 0.70 * feed)


def _known(name: str, names: tuple[str, ...], what: str) -> None:
    if name not in names:
        raise WattproofError(f"Unknown {what} '{name}'.{did_you_mean(name, names)}")
