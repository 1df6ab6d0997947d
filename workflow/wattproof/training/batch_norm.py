"""Batch norm over all processes of a training, and statistics computed anew. Imports torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

_OVER = (0, 2, 3)
"""Batch, height, width."""


class _Normalise(torch.autograd.Function):
    """Normalise over the images of all processes; one exchange forward, one backward."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        wide = x.to(torch.float32)
        channels = x.shape[1]
        own_mean = wide.mean(_OVER)
        own_m2 = (wide - _across(own_mean)).square().sum(_OVER)
        own_count = torch.full_like(own_mean[:1], x.numel() // channels)
        own = torch.cat([own_mean, own_m2, own_count])
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own)
        together = torch.stack(parts)
        means, m2s = together[:, :channels], together[:, channels:-1]
        counts = together[:, -1:]
        count = counts.sum()
        # Chan's rule: squares about own means, and those of the means about the common one.
        mean = (counts * means).sum(0) / count
        m2 = m2s.sum(0) + (counts * (means - mean).square()).sum(0)
        scale = torch.rsqrt(m2 / count + eps)
        ctx.save_for_backward(x, weight, mean, scale, count)
        out = (wide - _across(mean)) * _across(scale * weight) + _across(bias)
        unbiased = m2 / (count - 1)
        ctx.mark_non_differentiable(mean, unbiased)
        return out.to(x.dtype), mean, unbiased

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, scale, count = ctx.saved_tensors
        grad = grads[0].to(torch.float32)
        normal = (x.to(torch.float32) - _across(mean)) * _across(scale)
        # Of this process alone: gradients of parameters are summed with all others later.
        grad_bias, grad_weight = grad.sum(_OVER), (grad * normal).sum(_OVER)
        both = torch.stack([grad_bias, grad_weight])
        dist.all_reduce(both)
        both /= count
        grad_x = grad - _across(both[0]) - normal * _across(both[1])
        grad_x = grad_x * _across(scale * weight)
        return grad_x.to(x.dtype), grad_weight, grad_bias, None


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """`BatchNorm2d` whose batch is that of all processes together, on any device and backend.

    PyTorch's own `SyncBatchNorm` needs CUDA. Shares may differ in size.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise images of shape (batch, channels, height, width)."""
        if not self.training:
            return super().forward(input)
        out, mean, variance = _Normalise.apply(input, self.weight, self.bias, self.eps)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        normalised: Tensor = out
        return normalised


def make_global(model: nn.Module) -> nn.Module:
    """Let all batch norms of a network see the images of all processes; return the network."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = GlobalBatchNorm2d
    return model


def _across(values: Tensor) -> Tensor:
    return values[None, :, None, None]


class PreciseStatistics:
    """Means of batch statistics over some batches, put in the place of the running ones.

    Running statistics lag behind the weights of a training; these belong to the weights as they
    are (and an average of weights has no statistics of its own at all).

    Args:
        models: Networks; all see the same batches.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self._models = models
        self._norms = [
            norm for model in models for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)
        ]
        self._sums = [torch.zeros_like(_statistics(norm)) for norm in self._norms]
        self._images = 0

    def compute(self, batches: Iterable[tuple[Tensor, int]]) -> None:
        """Compute the statistics and put them in place.

        Args:
            batches: (images, weight) of each batch: how many images it has in all processes.
        """
        momenta = [norm.momentum for norm in self._norms]
        for model in self._models:
            model.train()
        try:
            # With momentum 1 the running statistics are those of the last batch.
            for norm in self._norms:
                norm.momentum = 1.0
            with torch.no_grad():
                for images, weight in batches:
                    self._add(images, weight)
                self._put()
        finally:
            for norm, momentum in zip(self._norms, momenta, strict=True):
                norm.momentum = momentum

    def _add(self, images: Tensor, weight: int) -> None:
        for model in self._models:
            model(images)
        for total, norm in zip(self._sums, self._norms, strict=True):
            total += weight * _statistics(norm)
        self._images += weight

    def _put(self) -> None:
        if not self._images:  # the time was over before the first batch
            return
        for total, norm in zip(self._sums, self._norms, strict=True):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.copy_(total[0] / self._images)
            norm.running_var.copy_(total[1] / self._images)


def _statistics(norm: nn.BatchNorm2d) -> Tensor:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return torch.stack([norm.running_mean, norm.running_var])
