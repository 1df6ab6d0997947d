"""The load model: how much of the node a training keeps busy.

One model for all search spaces. It is roofline-like in spirit: compute units fill with
multiply-accumulates a step, memory with activations a step, both slowly and with saturation,
because small kernels leave most of a GPU empty whatever their number. Loads are stated for a
*reference GPU* (an H100); how a smaller GPU is filled by the same work is its preset's
`fill_factor`.

The form ``x^h / (1 + x^h)`` and its constants are assumptions, fitted to one published fact
(arXiv 2505.15631: EA-HAS-Bench's Tiny ImageNet networks draw 146 to 305 W of 75 to 800 W on an
H100, batch 1024) so that the smallest network lands on 146 W and the largest on 305 W with the
preset `paper`. Nothing is fitted to any other space.
"""

from __future__ import annotations

from dataclasses import dataclass

from wattproof.errors import WattproofError, did_you_mean

HALF_MACS = 3.209026e12
"""Multiply-accumulates a step that fill half of the reference GPU's compute units."""

MACS_EXPONENT = 0.3995125

HALF_ACTIVATIONS = 3.398207e9
"""Activations a step that keep half of the reference GPU's memory bandwidth busy."""

ACTIVATIONS_EXPONENT = 0.7465060

HALF_PIXELS = 1024 * 32 * 32
"""Pixels a step that keep the input pipeline half busy."""

PIXELS_EXPONENT = 0.5

EVAL_COMPUTE = 0.85
"""Evaluation has no backward pass: kernels are as large, the gaps between them longer."""

EVAL_MEMORY = 0.70
"""… and no activations are kept for a backward pass."""

PHASES = ("input", "train", "eval")


@dataclass(frozen=True, slots=True)
class Load:
    """What is kept busy, each 0 to 1; the arguments of `ActivityWriter.publish`.

    Attributes:
        gpu_compute: Compute units of the reference GPU.
        gpu_memory: Memory bandwidth of the reference GPU.
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


def _saturate(work: float, half: float, exponent: float) -> float:
    x = (work / half) ** exponent
    return x / (1.0 + x)


def training_load(
    macs: int,
    params: int,
    activations: int,
    batch_size: int,
    phase: str,
    resolution: int,
) -> Load:
    """Load of one training on its slot and on the node.

    Args:
        macs: Multiply-accumulates of one forward pass of one image.
        params: Parameters; each is read once a step whatever the batch.
        activations: Activations of one forward pass of one image.
        batch_size: Images a step.
        phase: ``input`` (the GPU waits for data), ``train`` or ``eval``.
        resolution: Side of an input image in pixels.

    Raises:
        WattproofError: The phase is unknown.
    """
    if phase not in PHASES:
        raise WattproofError(f"Unknown training phase '{phase}'.{did_you_mean(phase, PHASES)}")
    feed = _saturate(batch_size * resolution**2, HALF_PIXELS, PIXELS_EXPONENT)
    if phase == "input":
        return Load(cpu_load=0.30 + 0.40 * feed, dram_load=0.20 + 0.60 * feed)
    traffic = activations * batch_size + params
    compute = _saturate(macs * batch_size, HALF_MACS, MACS_EXPONENT)
    memory = _saturate(traffic, HALF_ACTIVATIONS, ACTIVATIONS_EXPONENT)
    if phase == "eval":
        compute, memory = compute * EVAL_COMPUTE, memory * EVAL_MEMORY
    return Load(compute, memory, cpu_load=0.10 + 0.20 * feed, dram_load=0.10 + 0.70 * feed)
