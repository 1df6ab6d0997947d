"""Which GPUs a job sees, and how GPUs are numbered: the same for NVML and nvidia-smi.

NVML and nvidia-smi know nothing of ``CUDA_VISIBLE_DEVICES``. A training's first GPU is the first
*visible* one, so slots are numbered in CUDA's order: visible GPUs first, the others of the node
behind them. Without the variable, slots are NVML's indices.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

VARIABLE = "CUDA_VISIBLE_DEVICES"
MIG_OLD = "MIG-GPU-"
"""Names of MIG devices up to driver 465 contain the GPU's: ``MIG-GPU-<uuid>/<gi>/<ci>``."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a GPU of the node stands.

    Attributes:
        index: By NVML, which is the order on the PCI bus.
        slot: Its number in channels: ``gpu{slot}``.
        visible: A job with this environment can use it.
    """

    index: int
    slot: int
    visible: bool


def visible_uuids(
    words: str | None, uuids: Sequence[str], parent_of: Callable[[str], str | None]
) -> list[str] | None:
    """Return the GPUs that ``CUDA_VISIBLE_DEVICES`` names, in its order.

    Like CUDA, it reads up to the first word that names nothing; a GPU that is named again (by a
    second MIG device of it) counts once.

    Args:
        words: Value of the variable; None if it is not set.
        uuids: The node's GPUs in NVML's order.
        parent_of: UUID of the GPU that a MIG device belongs to; None if that cannot be told.

    Returns:
        UUIDs, or None if the variable is not set: all are visible.
    """
    if words is None:
        return None
    found: list[str] = []
    for word in (part.strip() for part in words.split(",")):
        uuid = _named(word, uuids, parent_of)
        if uuid is None:
            break
        if uuid not in found:
            found.append(uuid)
    return found


def _named(word: str, uuids: Sequence[str], parent_of: Callable[[str], str | None]) -> str | None:
    if word.isascii() and word.isdecimal():
        return uuids[int(word)] if int(word) < len(uuids) else None
    if word.startswith(MIG_OLD):
        word = word.removeprefix("MIG-").partition("/")[0]
    elif word.startswith("MIG-"):
        parent = parent_of(word)
        return parent if parent in uuids else None
    hits = [uuid for uuid in uuids if word and uuid.lower().startswith(word.lower())]
    # CUDA takes a prefix only if it is unique.
    return hits[0] if len(hits) == 1 and word.upper().startswith("GPU-") else None


def place(
    uuids: Sequence[str],
    parent_of: Callable[[str], str | None] = lambda _mig: None,
    environ: Mapping[str, str] | None = None,
) -> list[Place]:
    """Number the GPUs of the node.

    Args:
        uuids: In NVML's order.
        parent_of: UUID of the GPU that a MIG device belongs to; None if that cannot be told.
        environ: Environment; None takes that of this process.

    Returns:
        A place for each, in the order of `uuids`.
    """
    words = (os.environ if environ is None else environ).get(VARIABLE)
    visible = visible_uuids(words, uuids, parent_of)
    if visible is None:
        return [Place(index, index, True) for index in range(len(uuids))]
    order = [*visible, *(uuid for uuid in uuids if uuid not in visible)]
    return [Place(i, order.index(uuid), uuid in visible) for i, uuid in enumerate(uuids)]
