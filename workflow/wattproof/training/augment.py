"""Augmentation of a batch: flip, pad and crop, cutout. Imports torch.

What happens to each image is drawn first and done afterwards, so that several processes that share
a batch can draw for all of it and do their own part of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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


@dataclass(frozen=True, slots=True)
class Draws:
    """What was drawn for each image of a batch; None for what is not done.

    Attributes:
        mirrored: Shape (batch,), 1 for images that are mirrored.
        crop: First row and column of the crop in the padded image, each of shape (batch,).
        cutout: Row and column of the hidden square's centre, each of shape (batch,).
    """

    mirrored: Tensor | None = None
    crop: tuple[Tensor, Tensor] | None = None
    cutout: tuple[Tensor, Tensor] | None = None

    def part(self, rows: slice) -> Draws:
        """Return the draws of some images of the batch."""

        def cut(pair: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor] | None:
            return None if pair is None else (pair[0][rows], pair[1][rows])

        mirrored = None if self.mirrored is None else self.mirrored[rows]
        return replace(self, mirrored=mirrored, crop=cut(self.crop), cutout=cut(self.cutout))


def draw(count: int, side: int, recipe: Augmentation, generator: Generator) -> Draws:
    """Draw what happens to each image of a batch.

    Args:
        count: Images of the batch.
        side: Height and width of the images, in pixels.
        recipe: What to do.
        generator: On the CPU whatever the device, so that devices see the same augmentation.
    """

    def numbers(high: int) -> Tensor:
        return torch.randint(high, (count,), generator=generator)

    mirrored = numbers(2) if recipe.flip else None
    crop = cutout = None
    if recipe.pad:
        crop = numbers(2 * recipe.pad + 1), numbers(2 * recipe.pad + 1)
    if recipe.cutout:
        cutout = numbers(side), numbers(side)
    return Draws(mirrored, crop, cutout)


def apply(images: Tensor, recipe: Augmentation, draws: Draws) -> Tensor:
    """Augment each image of a batch as drawn.

    Args:
        images: Shape (batch, channels, side, side), mean about 0.
        recipe: What the draws were made for.
        draws: See `draw`.

    Returns:
        A new tensor of the same shape.
    """
    out = images
    device = images.device
    if draws.mirrored is not None:
        mirrored = draws.mirrored.to(device)[:, None, None, None] == 1
        out = torch.where(mirrored, out.flip(-1), out)
    if draws.crop is not None:
        out = _crop(out, recipe.pad, *(first.to(device) for first in draws.crop))
    if draws.cutout is not None:
        out = out * _cutout_mask(out, recipe.cutout, *(c.to(device) for c in draws.cutout))
    return out


def augment(images: Tensor, recipe: Augmentation, generator: Generator) -> Tensor:
    """Draw and apply for a whole batch; see `draw` and `apply`."""
    return apply(images, recipe, draw(len(images), images.shape[-1], recipe, generator))


def _crop(images: Tensor, pad: int, first_row: Tensor, first_column: Tensor) -> Tensor:
    side = images.shape[-1]
    padded = torch.nn.functional.pad(images, (pad, pad, pad, pad))
    pixels = torch.arange(side, device=images.device)
    rows = first_row[:, None] + pixels
    columns = first_column[:, None] + pixels
    which = torch.arange(len(images), device=images.device)[:, None, None]
    # Channels come last after this indexing, because a slice stands between the index arrays.
    cropped = padded[which, :, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2).contiguous()


def _cutout_mask(images: Tensor, size: int, row: Tensor, column: Tensor) -> Tensor:
    pixels = torch.arange(images.shape[-1], device=images.device)

    def hidden(centre: Tensor) -> Tensor:
        first = centre[:, None] - size // 2
        return (pixels >= first) & (pixels < first + size)

    square = hidden(row)[:, :, None] & hidden(column)[:, None, :]
    return (~square)[:, None].to(images.dtype)
