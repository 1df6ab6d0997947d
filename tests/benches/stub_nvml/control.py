"""The control file that the stub library maps: the structs of ``model.h``, and writing them."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = b"WPSTUB3"
MAX_GPUS = 16
MAX_MIG = 8
MAX_FAULTS = 256
MAX_SEGMENTS = 1 << 18
PAGE_BYTES = 4096

SEGMENT = np.dtype(
    [("start_ns", "<i8"), ("watts", "<f8"), ("true_j", "<f8"), ("seen_j", "<f8")], align=True
)


class Fault(ctypes.Structure):
    """``fault_t``."""

    _fields_ = (
        ("gpu", ctypes.c_int32),
        ("code", ctypes.c_int32),
        ("from_ns", ctypes.c_int64),
        ("until_ns", ctypes.c_int64),
        ("extra_ns", ctypes.c_int64),
        ("value", ctypes.c_int64),
        ("has_text", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("call", ctypes.c_char * 56),
        ("text", ctypes.c_char * 64),
    )


_GPU_TEXTS = (("uuid", 96), ("name", 96), ("serial", 32), ("bus_id", 32))
_GPU_WORDS = (
    "mig_count",
    "mig_mode",
    "architecture",
    "persistence",
    "ring_size",
    "ring_mode",
    "compute_major",
    "compute_minor",
    "usage_instant",
    "segments",
)
_GPU_LONGS = (
    "update_ns",
    "window_ns",
    "phase_ns",
    "average_ns",
    "delay_ns",
    "ring_period_ns",
    "ring_phase_ns",
    "ring_cost_ns",
    "counter_update_ns",
    "counter_phase_ns",
    "counter_cost_ns",
    "field_cost_ns",
    "usage_cost_ns",
    "counter_start_mj",
    "counter_reset_ns",
    "memory_total",
)


class Gpu(ctypes.Structure):
    """``gpu_t``."""

    _fields_ = (
        *((name, ctypes.c_char * size) for name, size in _GPU_TEXTS),
        ("mig_uuid", (ctypes.c_char * 96) * MAX_MIG),
        *((name, ctypes.c_int32) for name in _GPU_WORDS),
        *((name, ctypes.c_int64) for name in _GPU_LONGS),
        ("gain", ctypes.c_double),
        ("idle_w", ctypes.c_double),
        ("limit_w", ctypes.c_double),
    )


class Control(ctypes.Structure):
    """``control_t``."""

    _fields_ = (
        ("magic", ctypes.c_char * 8),
        ("seq", ctypes.c_uint64),
        ("gpus", ctypes.c_int32),
        ("faults", ctypes.c_int32),
        ("wall_offset_ns", ctypes.c_int64),
        ("smi_cost_ns", ctypes.c_int64),
        ("smi_generation", ctypes.c_int32),
        ("cuda_version", ctypes.c_int32),
        ("driver", ctypes.c_char * 64),
        ("fault", Fault * MAX_FAULTS),
        ("gpu", Gpu * MAX_GPUS),
    )


CONTROL_BYTES = -(-ctypes.sizeof(Control) // PAGE_BYTES) * PAGE_BYTES


class ControlFile:
    """A mapped control file; readers see each `writing` block whole or not at all.

    Args:
        path: File to make (sparse: room for the longest scripts, of which little is ever written).
        gpus: Number of GPUs.
    """

    def __init__(self, path: Path, gpus: int) -> None:
        if not 0 <= gpus <= MAX_GPUS:
            raise ValueError(f"The stub driver has room for {MAX_GPUS} GPUs, not {gpus}.")
        size = CONTROL_BYTES + gpus * MAX_SEGMENTS * SEGMENT.itemsize
        with path.open("w+b") as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self.data = Control.from_buffer(self._map)
        self.data.gpus = gpus

    def segments(self, gpu: int) -> NDArray[np.void]:
        """All room for the script of a GPU."""
        offset = CONTROL_BYTES + gpu * MAX_SEGMENTS * SEGMENT.itemsize
        return np.frombuffer(self._map, SEGMENT, MAX_SEGMENTS, offset)

    def publish(self) -> None:
        """Make the file one that the library accepts."""
        self.data.magic = MAGIC

    @contextmanager
    def writing(self) -> Iterator[Control]:
        """Change the content while readers wait."""
        self.data.seq += 1
        try:
            yield self.data
        finally:
            self.data.seq += 1
