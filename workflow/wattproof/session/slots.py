"""The slots of a recording: which GPUs its runs occupy, by UUID.

Slots are numbered as channels are (`sources.gpus`): GPUs that the job can see first, in the order
of ``CUDA_VISIBLE_DEVICES``. A recording uses the first ones, so slot k is ``gpu{k}``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wattproof.config import Config
from wattproof.errors import WattproofError
from wattproof.plan import PlanRow
from wattproof.sources.endpoints import Endpoints, real_endpoints
from wattproof.sources.gpus import VARIABLE, visible_uuids
from wattproof.sources.nvml.devices import Driver, NoGpuError


@dataclass(frozen=True, slots=True)
class Slot:
    """A GPU that runs occupy.

    Attributes:
        number: Of the slot, from 0.
        uuid: Of the board; None on a node without GPUs, where runs are trained on the CPU.
        name: What CUDA is told: the UUID, or that of the MIG device that the job was given.
    """

    number: int
    uuid: str | None
    name: str | None

    def as_json(self) -> dict[str, Any]:
        """Return what session and progress log say of it."""
        return {"slot": self.number, "uuid": self.uuid}


def asked(rows: Iterable[PlanRow]) -> int | None:
    """Return how many slots the rows of a recording ask for; None: as many as there are."""
    found = [int(row.spec["gpus"]) for row in rows if row.spec.get("gpus")]
    return max(found, default=None)


def wanted_boards(count: int, environ: Mapping[str, str]) -> list[int]:
    """Return the boards of a virtual node in the order of its slots, those beyond them behind.

    ``CUDA_VISIBLE_DEVICES``, as Slurm sets it, restricts them: its indices below the node's number
    of boards; a variable that names none of them (Slurm's node has more GPUs than the preset)
    leaves as many boards as it has words.

    Args:
        count: Boards of the preset.
        environ: Environment.

    Returns:
        Indices, and the number of slots is `visible_count`.
    """
    named = _named(count, environ)
    return [*named, *(index for index in range(count) if index not in named)]


def visible_count(count: int, environ: Mapping[str, str]) -> int:
    """Return how many boards of a virtual node a job with this environment can use."""
    return len(_named(count, environ))


def _named(count: int, environ: Mapping[str, str]) -> list[int]:
    words = environ.get(VARIABLE)
    if not words:  # empty: somebody keeps real GPUs away from the trainings, which run on the CPU
        return list(range(count))
    parts = [part.strip() for part in words.split(",") if part.strip()]
    indices = [int(part) for part in parts if part.isascii() and part.isdecimal()]
    named = list(dict.fromkeys(index for index in indices if index < count))
    return named or list(range(min(len(parts), count)))


def virtual_slots(uuids: Sequence[str], visible: int) -> list[Slot]:
    """Return the slots of a virtual node whose boards stand in the order of its slots."""
    return [Slot(k, uuid, uuid) for k, uuid in enumerate(uuids[:visible])]


def real_slots(endpoints: Endpoints | None = None) -> tuple[list[Slot], int]:
    """Return the GPUs of this machine that this job can use, and how many it has altogether.

    Raises:
        WattproofError: Two MIG devices of the job are parts of one board: its sensor cannot tell
            them apart.
    """
    nvml = (real_endpoints() if endpoints is None else endpoints).nvml
    if nvml is None:
        return [], 0
    driver = Driver(nvml)
    try:
        every = driver.open()
        gpus = [gpu for gpu in every if gpu.identity["visible"]]
        names = _names([gpu.uuid for gpu in gpus], driver)
    except NoGpuError:
        return [], 0
    finally:
        driver.close()
    return [Slot(k, gpu.uuid, names[gpu.uuid]) for k, gpu in enumerate(gpus)], len(every)


def _names(uuids: Sequence[str], driver: Driver) -> dict[str, str]:
    """Return what CUDA calls each board: its UUID, or that of the job's MIG device on it."""
    names = dict(zip(uuids, uuids, strict=True))
    for word in (part.strip() for part in os.environ.get(VARIABLE, "").split(",")):
        if not word.startswith("MIG-"):
            continue
        for uuid in visible_uuids(word, uuids, driver.mig_parent) or []:
            if names[uuid] != uuid:
                raise WattproofError(
                    f"{VARIABLE} names two MIG devices of one board ({uuid}), whose sensor "
                    "measures both together; give the job one MIG device a board."
                )
            names[uuid] = word
    return names


def choose(
    found: Sequence[Slot], gpus: int, number: int | None, settings: set[str], config: Config
) -> list[Slot]:
    """Return the slots that a recording uses.

    Args:
        found: Those that the job can use.
        gpus: GPUs of the node, those included.
        number: How many the plan asks for; None: all.
        settings: Of the recording's runs.
        config: Keys sources and on_missing_source.

    Raises:
        WattproofError: It needs a GPU and there is none, or more than there are, or a run on all
            slots would leave some that are recorded idle.
    """
    if not found:
        recorded = "nvml" in config["sources"] and config["on_missing_source"] == "stop"
        if number or settings & {"packed", "ddp"} or recorded:
            raise WattproofError(
                "This node has no GPU that the recording can use, but the campaign "
                f"{'records NVML' if recorded else 'trains on its slots'}; run on a node with "
                "one, or ask for one (CUDA_VISIBLE_DEVICES, gres)."
            )
        return [Slot(0, None, None)]
    if number is not None and number > len(found):
        raise WattproofError(
            f"Key 'plan.slots' is {number}, but the recording can use {len(found)} GPU(s) of this "
            "node; lower it, or ask for more GPUs."
        )
    chosen = list(found[:number])
    sources = config["sources"]
    if "smi" not in sources and sources.get("nvml", {}).get("gpus") == "visible":
        gpus = len(found)
    if "ddp" in settings and len(chosen) < gpus:
        raise WattproofError(
            f"A run of setting ddp would take {len(chosen)} of the {gpus} GPUs that are recorded, "
            "and the idle ones would count as its own; ask for all GPUs of the node, or record "
            "those of the job only (sources.nvml.gpus: visible, and no smi)."
        )
    return chosen


def environment(slots: Sequence[Slot]) -> dict[str, str]:
    """Return the environment of a run: device i of its process is `slots` [i]."""
    names = [slot.name for slot in slots if slot.name is not None]
    return {**os.environ, VARIABLE: ",".join(names)} if names else dict(os.environ)
