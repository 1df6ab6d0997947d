"""The torch modules of a `wattproof.space.Network`, exactly as EA-HAS-Bench builds them.

Imports torch: import this module only where something is trained. Structure and initialisation:
facts page ``ea_has_bench.md``, section 2 (after pycls).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wattproof.space.regnet import BlockShape, Network

IMAGE_CHANNELS = 3


def _conv(kernel: int, c_in: int, c_out: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        c_in, c_out, kernel, stride=stride, padding=(kernel - 1) // 2, groups=groups, bias=False
    )


def _pool(x: Tensor) -> Tensor:
    """Global average pool, by a mean: torch's own pooling is not deterministic on CUDA."""
    return x.mean(dim=(2, 3), keepdim=True)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: pooled channels gate all channels."""

    def __init__(self, width: int, se_width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv2d(width, se_width, 1, bias=True),
            nn.ReLU(inplace=True),
            nn.Conv2d(se_width, width, 1, bias=True),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x` of shape (batch, width, side, side)."""
        gated: Tensor = x * self.gate(_pool(x))
        return gated


class ResidualBlock(nn.Module):
    """Residual bottleneck: 1×1, grouped 3×3 with the stride, squeeze-and-excitation, 1×1."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        w_in, width, stride = shape.w_in, shape.width, shape.stride
        self.shortcut = (
            nn.Sequential(_conv(1, w_in, width, stride), nn.BatchNorm2d(width))
            if shape.projects
            else nn.Identity()
        )
        self.body = nn.Sequential(
            _conv(1, w_in, width),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            _conv(3, width, width, stride, shape.groups),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            SqueezeExcite(width, shape.se_width),
            _conv(1, width, width),
            nn.BatchNorm2d(width),
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, w_in, side, side) to (batch, width, side/stride, side/stride)."""
        out: Tensor = self.relu(self.shortcut(x) + self.body(x))
        return out


class RegNet(nn.Module):
    """Stem (3×3, stride 1), stages, global average pool, linear layer with bias."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _conv(3, IMAGE_CHANNELS, network.stem_width),
            nn.BatchNorm2d(network.stem_width),
            nn.ReLU(inplace=True),
        )
        self.stages = nn.Sequential(
            *(nn.Sequential(*map(ResidualBlock, stage)) for stage in network.blocks())
        )
        self.head = nn.Linear(network.widths[-1], network.classes, bias=True)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, 3, side, side) to class scores (batch, classes)."""
        scores: Tensor = self.head(_pool(self.stages(self.stem(x))).flatten(1))
        return scores


def _initialise(module: nn.Module) -> None:
    """Convolutions N(0, √(2/fan_out)), fan_out = k²·c_out whatever the groups; see the page."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        nn.init.normal_(module.weight, mean=0.0, std=math.sqrt(2.0 / fan_out))
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, mean=0.0, std=0.01)
        nn.init.zeros_(module.bias)


def build(network: Network, seed: int) -> RegNet:
    """Build a network with seeded weights, without touching torch's global generator.

    Args:
        network: What to build.
        seed: Equal seeds give equal weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RegNet(network)
