"""Augmentation of a batch: flip, pad and crop, cutout. Imports torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to each training image.

    Attributes:
        pad: Zero pixels put around the image before a crop of its old size; 0 = no crop.
        flip: Mirror left and right with probability ½.
        cutout: Side in pixels of a square set to zero, its centre anywhere in the image; 0 = none.
    """

    pad: int = 4
    flip: bool = False
    cutout: int = 0


def augment(images: Tensor, recipe: Augmentation, generator: Generator) -> Tensor:
    """Augment each image of a batch on its own.

    Args:
        images: Shape (batch, channels, side, side), mean about 0.
        recipe: What to do.
        generator: On the CPU whatever the device, so that devices see the same augmentation.

    Returns:
        A new tensor of the same shape.
    """
    out = images
    if recipe.flip:
        mirrored = _draw(2, images, generator)[:, None, None, None] == 1
        out = torch.where(mirrored, out.flip(-1), out)
    if recipe.pad:
        out = _crop(out, recipe.pad, generator)
    if recipe.cutout:
        out = out * _cutout_mask(out, recipe.cutout, generator)
    return out


def _draw(high: int, images: Tensor, generator: Generator) -> Tensor:
    drawn = torch.randint(high, (len(images),), generator=generator)
    return drawn.to(images.device)


def _crop(images: Tensor, pad: int, generator: Generator) -> Tensor:
    side = images.shape[-1]
    padded = torch.nn.functional.pad(images, (pad, pad, pad, pad))
    pixels = torch.arange(side, device=images.device)
    rows = _draw(2 * pad + 1, images, generator)[:, None] + pixels
    columns = _draw(2 * pad + 1, images, generator)[:, None] + pixels
    which = torch.arange(len(images), device=images.device)[:, None, None]
    # Channels come last after this indexing, because a slice stands between the index arrays.
    cropped = padded[which, :, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2).contiguous()


def _cutout_mask(images: Tensor, size: int, generator: Generator) -> Tensor:
    side = images.shape[-1]
    pixels = torch.arange(side, device=images.device)

    def hidden() -> Tensor:
        first = _draw(side, images, generator)[:, None] - size // 2
        return (pixels >= first) & (pixels < first + size)

    square = hidden()[:, :, None] & hidden()[:, None, :]
    return (~square)[:, None].to(images.dtype)
