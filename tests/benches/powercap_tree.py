"""A powercap tree in a folder, as RAPL shows it on servers: packages, sub-domains, mirrors, faults.

Counters stand still until they are set, or follow `PowerScript`s while a small writer runs.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from stub_nvml.script import PowerScript

RANGE_UJ = 262_143_328_850
"""A usual `max_energy_range_uj`: wraps every 22 minutes at 200 W."""

WIDTH = 16
"""Characters of ``energy_uj``: always as many, so that one write replaces the number whole."""


class PowercapTree:
    """A tree with the folders ``intel-rapl:N`` and in them ``intel-rapl:N:M``.

    Domains are called ``package-0``, ``package-0/dram``, ``psys`` … here.

    Args:
        root: Folder of the tree; made if need be.
        packages: Number of packages.
        parts: Sub-domains of each package, in their order.
        psys: Add the platform domain, after the packages.
        mmio: Mirror the packages as ``intel-rapl-mmio:N``.
        links: Show sub-domains a second time at the top, as the kernel does.
        start_uj: What each counter holds at first.
        range_uj: Where the counters wrap.
    """

    def __init__(
        self,
        root: Path,
        packages: int = 1,
        parts: Sequence[str] = ("core", "uncore", "dram"),
        psys: bool = False,
        mmio: bool = False,
        links: bool = True,
        start_uj: int = 0,
        range_uj: int = RANGE_UJ,
    ) -> None:
        self.root = root
        self.range_uj = range_uj
        self._folders: dict[str, list[Path]] = {}
        (root / "intel-rapl").mkdir(parents=True, exist_ok=True)
        for package in range(packages):
            top = root / f"intel-rapl:{package}"
            self._add(f"package-{package}", top, start_uj)
            if mmio:
                mirror = root / f"intel-rapl-mmio:{package}"
                self._add(f"package-{package}", mirror, start_uj)
            for number, part in enumerate(parts):
                folder = top / f"{top.name}:{number}"
                self._add(f"package-{package}/{part}", folder, start_uj)
                if links:
                    (root / folder.name).symlink_to(folder.relative_to(root))
        if psys:
            self._add("psys", root / f"intel-rapl:{packages}", start_uj)

    def _add(self, domain: str, folder: Path, start_uj: int) -> None:
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{domain.rpartition('/')[2]}\n", encoding="ascii")
        (folder / "max_energy_range_uj").write_text(f"{self.range_uj}\n", encoding="ascii")
        self._folders.setdefault(domain, []).append(folder)
        self.set(domain, start_uj)

    @property
    def domains(self) -> list[str]:
        """All domains, each once."""
        return list(self._folders)

    def files(self, domain: str) -> list[Path]:
        """Return the counter files of a domain: the first is the MSR's, then its mirrors."""
        return [folder / "energy_uj" for folder in self._folders[domain]]

    def set(self, domain: str, energy_uj: int) -> None:
        """Let a counter (and its mirrors) hold a value; it wraps at the range."""
        self.garble(domain, f"{energy_uj % self.range_uj:<{WIDTH - 1}d}\n")

    def add(self, domain: str, energy_j: float) -> None:
        """Count a counter on, over the wrap if need be."""
        now = int(self.files(domain)[0].read_text(encoding="ascii"))
        self.set(domain, now + round(energy_j * 1e6))

    def garble(self, domain: str, text: str) -> None:
        """Let a counter's file hold any text; kept descriptors see it."""
        for path in self.files(domain):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                content = text.encode("ascii")
                os.pwrite(handle, content, 0)
                os.ftruncate(handle, len(content))
            finally:
                os.close(handle)

    def forbid(self, domain: str) -> None:
        """Close a counter to everybody but root, as Linux does since CVE-2020-8694."""
        for path in self.files(domain):
            path.chmod(0)

    def break_reads(self, domain: str) -> None:
        """Let reads of a counter fail with EIO, root's as well; kept descriptors stay good."""
        for path in self.files(domain):
            path.unlink()
            path.symlink_to("/proc/self/mem")  # nothing is mapped at 0

    @contextmanager
    def playing(
        self, scripts: Mapping[str, PowerScript], period_s: float = 0.005
    ) -> Iterator[None]:
        """Let counters follow scripts, from what they hold now, while the block runs."""
        starts = {d: int(self.files(d)[0].read_text(encoding="ascii")) for d in scripts}
        began_ns = time.monotonic_ns()
        stop = threading.Event()

        def write() -> None:
            while True:
                last = stop.wait(period_s)
                now_ns = time.monotonic_ns()
                for domain, script in scripts.items():
                    energy_uj = int(script.energy_j(began_ns, now_ns) * 1e6)
                    self.set(domain, starts[domain] + energy_uj)
                if last:
                    return

        writer = threading.Thread(target=write, name="powercap writer", daemon=True)
        writer.start()
        try:
            yield
        finally:
            stop.set()
            writer.join()
