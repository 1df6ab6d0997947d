"""A powercap tree like ``/sys/class/powercap``, SIMULATED, as a folder of ordinary files."""

from __future__ import annotations

import os
from pathlib import Path

from wattproof import units
from wattproof.virtual.model import PowerTrace
from wattproof.virtual.node import NodeSpec
from wattproof.virtual.sensors import rapl_uj

PACKAGE = "intel-rapl:0"
DRAM = "intel-rapl:0/intel-rapl:0:0"
NAMES = {PACKAGE: "package-0", DRAM: "dram"}

WIDTH = 16
"""Characters of ``energy_uj``: always as many, so that one write replaces the number whole."""


class PowercapTree:
    """Keeps the counters of package and DRAM up to date.

    Args:
        root: Folder of the tree; made anew.
        spec: The node.
        trace: Its true power; must know all events up to the instants handed to `write`.
    """

    def __init__(self, root: Path, spec: NodeSpec, trace: PowerTrace) -> None:
        self._spec = spec
        self._trace = trace
        self._latency_ns = units.s_to_ns(spec.parameters.rapl.latency_s)
        self._files = []
        for domain, name in NAMES.items():
            folder = root / domain
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "name").write_text(f"{name}\n", encoding="ascii")
            wrap_uj = spec.parameters.rapl.max_energy_range_uj
            (folder / "max_energy_range_uj").write_text(f"{wrap_uj}\n", encoding="ascii")
            path = folder / "energy_uj"
            self._files.append(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))

    def write(self, now_ns: int) -> None:
        """Write the counters as they stood a moment (``rapl.latency_s``) before this instant."""
        for domain, fd in enumerate(self._files):
            value = int(rapl_uj(self._spec, self._trace, domain, now_ns - self._latency_ns))
            os.pwrite(fd, f"{value:<{WIDTH - 1}d}\n".encode("ascii"), 0)

    def close(self) -> None:
        """Let go of the files; they keep their last values."""
        for fd in self._files:
            os.close(fd)
        self._files.clear()
