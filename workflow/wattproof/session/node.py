"""The node that a recording takes: this machine, or a virtual one that is started for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wattproof.config import Config
from wattproof.errors import WattproofError
from wattproof.plan import PlanRow, calibration_program, groups
from wattproof.session import slots
from wattproof.session.slots import Slot
from wattproof.sources.gpus import VARIABLE
from wattproof.training import firestarter

FIRESTARTER = "firestarter"


@dataclass(frozen=True, slots=True)
class Node:
    """A node for the length of a session.

    Attributes:
        kind: virtual or real.
        dir: Folder of the virtual node; None on a real one.
        memory_gib: Its memory.
        slots: What runs occupy.
        activity: The virtual node's event log; None on a real node.
    """

    kind: str
    dir: Path | None
    memory_gib: float
    slots: Sequence[Slot] = field(default_factory=list)
    activity: Path | None = None

    def for_recorder(self) -> dict[str, Any]:
        """Return what the recorder needs to know."""
        return {"kind": self.kind, "dir": None if self.dir is None else str(self.dir)}


@contextlib.contextmanager
def _visible(uuids: Sequence[str]) -> Iterator[None]:
    """Name the boards of a virtual node where the job's environment names GPUs of the real one."""
    before = os.environ.get(VARIABLE)
    if before is not None:
        os.environ[VARIABLE] = ",".join(uuids)
    try:
        yield
    finally:
        if before is not None:
            os.environ[VARIABLE] = before


@contextlib.contextmanager
def virtual(session: Path, truth: Path, config: Config, rows: Sequence[PlanRow]) -> Iterator[Node]:
    """Start the virtual node's daemon (serial meter, powercap tree); stop it at the end.

    Raises:
        WattproofError: It does not start, or has fewer boards than the rows ask for.
    """
    from wattproof.virtual import create_node, presets

    node_dir = session / "node"
    about = config["node"]
    # The session's name is in the seed: each session is another stretch of the node's life.
    seed = [about["seed"], *session.parent.name.encode(), *session.name.encode()]
    count = presets.get(about["preset"], about["overrides"]).gpu.count
    order = slots.wanted_boards(count, os.environ)
    visible = slots.visible_count(count, os.environ)
    spec = create_node(
        node_dir, truth, about["preset"], about["seed"], about["overrides"], seed, order
    )
    settings = {row.setting for row in rows}
    found = slots.virtual_slots(spec.gpu_uuids, visible)
    chosen = slots.choose(found, count, slots.asked(rows), settings, config)
    command = [sys.executable, "-m", "wattproof.virtual", str(node_dir)]
    daemon = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert daemon.stdout is not None
        if not daemon.stdout.readline():
            raise WattproofError(
                f"The virtual node did not start; run '{' '.join(command)}' to see why."
            )
        with _visible(spec.gpu_uuids[:visible]):
            yield Node("virtual", node_dir, spec.memory_gib, chosen, spec.activity_path)
    finally:
        assert daemon.stdin is not None
        with contextlib.suppress(OSError):
            daemon.stdin.close()
        try:
            daemon.wait(timeout=5)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def real(config: Config, rows: Sequence[PlanRow]) -> Node:
    """Return this machine.

    Raises:
        WattproofError: It lacks GPUs that the campaign needs, or the program of a load.
    """
    if any(row.spec.get("program") == FIRESTARTER for row in rows):
        firestarter.find()
    settings = {row.setting for row in rows}
    chosen = slots.choose(*slots.real_slots(), slots.asked(rows), settings, config)
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Node("real", None, memory_gib, chosen)


def check_machine(config: Config) -> None:
    """Check that this machine, on which recordings will be made, has what a campaign needs.

    Raises:
        WattproofError: It lacks GPUs, or the program of a load.
    """
    if config["node"]["kind"] != "real":
        return
    loads = config["calibration"]["loads"] if config["calibration"]["repeats"] else []
    if "stress" in loads and calibration_program(config) == FIRESTARTER:
        firestarter.find()
    for group in groups(config):
        found = slots.real_slots()
        slots.choose(*found, group.places.get("gpus"), {group.setting}, config)
