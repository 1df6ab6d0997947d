"""Mixed precision of training steps. Imports torch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from wattproof.training.recipe import PRECISIONS

FP32, AMP = PRECISIONS


def half_type(device: torch.device) -> torch.dtype:
    """Return the narrow type of a device: bf16, but fp16 on GPUs that have no bf16 of their own."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16


class Precision:
    """How a training step computes: in fp32, or mixed (operations that bear it in 16 bits).

    fp16 has a narrow range: its losses are scaled up before the gradients are taken, and steps
    whose gradients overflowed are left out (`torch.amp.GradScaler`).

    Args:
        name: fp32 or amp.
        device: Where the training computes.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self._device = device
        self._half = half_type(device) if name == AMP else None
        narrow = self._half is torch.float16
        self._scaler = torch.amp.GradScaler(device.type) if narrow else None

    def autocast(self) -> AbstractContextManager[object]:
        """Context of the forward pass and the loss of a training step."""
        if self._half is None:
            return nullcontext()
        return torch.autocast(self._device.type, self._half)

    def descend(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Take the gradients of a loss and do one step of the optimizer."""
        if self._scaler is None:
            loss.backward()
            optimizer.step()
            return
        self._scaler.scale(loss).backward()
        self._scaler.step(optimizer)
        self._scaler.update()
