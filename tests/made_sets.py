"""Small data sets in the formats of the real ones, made on the spot: nothing is downloaded."""

import gzip
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np

BATCHES = [f"data_batch_{number}" for number in range(1, 6)]


def write_idx(path, values):
    head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    content = head + values.tobytes()
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)


def idx_set(folder: Path, train: int, test: int, suffix: str = ".gz") -> Path:
    """Four IDX files: image n is grey n mod 251 all over, its label n mod 10."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, first, count in (("train", 0, train), ("t10k", train, test)):
        number = np.arange(first, first + count)
        grey = np.broadcast_to((number % 251)[:, None, None], (count, 28, 28)).astype(np.uint8)
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", grey)
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", (number % 10).astype(np.uint8))
    return folder


def coloured(labels, classes: int, seed: int, side: int = 32):
    """Images (n, 3, side, side) whose class shows as a bright block in a place and colour."""
    rng = np.random.default_rng(seed)
    images = rng.normal(110, 25, (len(labels), 3, side, side))
    cells = 4
    step = side // cells
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label) % cells**2, cells)
        colour = int(label) % 3
        image[colour, row * step : (row + 1) * step, column * step : (column + 1) * step] += 110
    return np.clip(images, 0, 255).astype(np.uint8)


def pickled(path: Path, content, protocol: int = 2) -> None:
    path.write_bytes(pickle.dumps(content, protocol=protocol))


def batch(labels, classes: int, seed: int, key: str = "labels", as_bytes: bool = False):
    """One batch of the python version, with keys as Python 2 or as Python 3 writes them."""
    images = coloured(labels, classes, seed)
    content = {
        "batch_label": "made by a test",
        key: [int(label) for label in labels],
        "data": images.reshape(len(labels), -1),
        "filenames": [f"image_{number}.png" for number in range(len(labels))],
    }
    return {name.encode(): value for name, value in content.items()} if as_bytes else content


def cifar10(folder: Path, train: int = 500, test: int = 100, protocol: int = 4) -> Path:
    """Write cifar-10-batches-py with classes in turn; returns the folder above it."""
    inner = folder / "cifar-10-batches-py"
    inner.mkdir(parents=True, exist_ok=True)
    each = train // 5
    for seed, (name, count) in enumerate([*((b, each) for b in BATCHES), ("test_batch", test)]):
        labels = np.arange(count) % 10
        pickled(inner / name, batch(labels, 10, seed, as_bytes=seed % 2 == 0), protocol)
    pickled(inner / "batches.meta", {"label_names": [f"class {k}" for k in range(10)]}, protocol)
    return folder


def cifar100(folder: Path, train: int = 500, test: int = 100) -> Path:
    """Write cifar-100-python; returns the folder above it."""
    inner = folder / "cifar-100-python"
    inner.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate((("train", train), ("test", test))):
        content = batch(np.arange(count) % 100, 100, seed, key="fine_labels")
        pickled(inner / name, content | {"coarse_labels": [0] * count}, 3)
    return folder


def archived(folder: Path, name: str) -> Path:
    """Pack a folder into folder/{archive}, as downloaded, and remove the files."""
    inner = folder / name
    path = folder / f"{name.replace('-batches-py', '-python')}.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        archive.add(inner, arcname=name)
    for file in inner.iterdir():
        file.unlink()
    inner.rmdir()
    return path


def tiny_imagenet(folder: Path, each: int = 3, test: int = 200) -> Path:
    """Write tiny-imagenet-200 with `each` images a class; images of class k are grey k all over."""
    from PIL import Image

    inner = folder / "tiny-imagenet-200"
    names = [f"n{1000 + 7 * label:08d}" for label in range(200)]
    inner.mkdir(parents=True)
    (inner / "wnids.txt").write_text("\n".join(names) + "\n", encoding="ascii")

    def save(path: Path, label: int, number: int) -> None:
        grey = number % 2 == 1  # as some of the real ones
        colour = label if grey else (label, label, 200 - label)
        Image.new("L" if grey else "RGB", (64, 64), colour).save(path, "JPEG", quality=95)

    for label, name in enumerate(names):
        images = inner / "train" / name / "images"
        images.mkdir(parents=True)
        for number in range(each):
            save(images / f"{name}_{number}.JPEG", label, number)
    images = inner / "val" / "images"
    images.mkdir(parents=True)
    lines = []
    for number in range(test):
        label = (number * 7) % 200
        save(images / f"val_{number}.JPEG", label, number)
        lines.append(f"val_{number}.JPEG\t{names[label]}\t0\t0\t62\t62")
    (inner / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
    return folder
