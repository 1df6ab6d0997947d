"""Device, determinism and optimizer of a training. Imports torch."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn
from torch.utils import deterministic

from wattproof.errors import WattproofError
from wattproof.training.recipe import Recipe

WEIGHT_DECAY = 5e-4


def pick_device(wanted: str, index: int = 0) -> torch.device:
    """Return the device to train on.

    Args:
        wanted: auto, cpu or cuda.
        index: Of the process among those of its run: each has a GPU of its own.

    Raises:
        WattproofError: CUDA was asked for and is not there, or has fewer devices.
    """
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise WattproofError(
            "key 'device' is 'cuda', but PyTorch sees no CUDA device; set it to 'cpu' or run "
            "wattproof doctor."
        )
    if not there or wanted == "cpu":
        return torch.device("cpu")
    if index >= torch.cuda.device_count():
        raise WattproofError(
            f"the run has {index + 1} slots or more, but PyTorch sees {torch.cuda.device_count()} "
            "CUDA devices; give it no more slots than that."
        )
    return torch.device("cuda", index)


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer: weight decay 5e-4, but none on batch-norm parameters."""
    normed = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    free = [p for module in normed for p in module.parameters()]
    exempt = {id(p) for p in free}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if id(p) not in exempt]},
        {"params": free, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=recipe.lr, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY
        )
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.lr, weight_decay=WEIGHT_DECAY)


def prepare(threads: int, exactly: bool = True) -> None:
    """Set the threads of this process, and whether equal seeds give equal runs.

    Args:
        threads: CPU threads.
        exactly: Only deterministic operations; else cuDNN tries out which are fastest.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(exactly)
    torch.backends.cudnn.benchmark = not exactly
    # Filling fresh memory guards against bugs that this code does not have, and costs time.
    # (A property that the module puts in place at run time, so type checkers miss it.)
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
