"""Augmentation, image by image."""

from __future__ import annotations

import torch

from wattproof.training.augment import Augmentation, augment


def images(count=200, side=12):
    """Every pixel of an image has a value of its own, and none is 0."""
    pixels = torch.arange(1, side * side + 1, dtype=torch.float32).reshape(1, 1, side, side)
    return pixels + 1000 * torch.arange(count)[:, None, None, None]


def run(recipe, seed=0, **shape):
    return augment(images(**shape), recipe, torch.Generator().manual_seed(seed))


def test_nothing_asked_nothing_done():
    assert torch.equal(run(Augmentation(pad=0)), images())


def test_crops_are_shifted_windows_of_the_padded_image():
    pad = 3
    cropped = run(Augmentation(pad=pad))
    shifts = set()
    for old, new in zip(images(), cropped, strict=True):
        padded = torch.nn.functional.pad(old, (pad,) * 4)
        found = [
            (r, c)
            for r in range(2 * pad + 1)
            for c in range(2 * pad + 1)
            if torch.equal(padded[:, r : r + 12, c : c + 12], new)
        ]
        assert len(found) == 1
        shifts.update(found)
    # 200 draws from 49 shifts: fewer than 40 distinct ones would not be uniform.
    assert len(shifts) > 40


def test_flip_mirrors_about_half():
    flipped = run(Augmentation(pad=0, flip=True))
    kinds = []
    for old, new in zip(images(), flipped, strict=True):
        assert torch.equal(new, old) or torch.equal(new, old.flip(-1))
        kinds.append(torch.equal(new, old))
    assert 70 < sum(kinds) < 130


def test_cutout_hides_one_square_cut_at_the_edge():
    hidden = run(Augmentation(pad=0, cutout=4)) == 0
    areas = set()
    for mask in hidden[:, 0]:
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        assert mask.sum() == len(rows) * len(columns)
        assert rows[-1] - rows[0] + 1 == len(rows) <= 4
        assert columns[-1] - columns[0] + 1 == len(columns) <= 4
        areas.add(int(mask.sum()))
    assert max(areas) == 16
    assert min(areas) < 16


def test_seeds_decide():
    recipe = Augmentation(pad=2, flip=True, cutout=4)
    assert torch.equal(run(recipe, seed=1), run(recipe, seed=1))
    assert not torch.equal(run(recipe, seed=1), run(recipe, seed=2))
