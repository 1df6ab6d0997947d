"""RAPL energy counters through Linux' powercap tree: packages and their DRAM.

Facts: kernel documentation of powercap; measurement.md section 6. Values are the counters as
read; wraps are undone by `wattproof.energy`. Core and uncore lie inside the package and are left
out, and so are the ``intel-rapl-mmio`` mirrors: either would count energy twice (case R9).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.base import Channel, Description, Pacing, Reading, Status
from wattproof.sources.endpoints import Endpoints
from wattproof.units import uj_to_j

_DOMAIN = re.compile(r"intel-rapl:(\d+)(?::(\d+))?")
_STATUS = {
    errno.EACCES: Status.NO_PERMISSION,
    errno.EPERM: Status.NO_PERMISSION,
    errno.ENODEV: Status.DEVICE_LOST,
    errno.ENXIO: Status.DEVICE_LOST,
    errno.ENODATA: Status.MISSING,
}


@dataclass(frozen=True, slots=True)
class Domain:
    """A counter that will be read.

    Attributes:
        channel: ``cpu{j}.package`` or ``cpu{j}.dram``, j = position of the package.
        folder: Its folder in the tree.
        label: What the kernel calls it, with the package in front of ``dram``.
    """

    channel: str
    folder: Path
    label: str


def find_domains(root: Path) -> list[Domain]:
    """Return packages and their DRAM in order; each domain once, whatever the tree's shape.

    The kernel shows sub-domains twice, inside their package and flat in the root.
    """
    folders: dict[tuple[int, int], Path] = {}
    for folder in (*root.glob("intel-rapl:*"), *root.glob("intel-rapl:*/intel-rapl:*")):
        match = _DOMAIN.fullmatch(folder.name)
        if match is not None:
            key = (int(match[1]), -1 if match[2] is None else int(match[2]))
            folders.setdefault(key, folder)
    names = {key: _line(folder / "name") for key, folder in folders.items()}
    packages = sorted(n for (n, sub), name in names.items() if sub < 0 and "package" in name)
    found = []
    for position, number in enumerate(packages):
        package = names[number, -1]
        found.append(Domain(f"cpu{position}.package", folders[number, -1], package))
        for (parent, sub), name in sorted(names.items()):
            if parent == number and sub >= 0 and name == "dram":
                folder = folders[parent, sub]
                found.append(Domain(f"cpu{position}.dram", folder, f"{package}/dram"))
    return found


class RaplSource:
    """The counters of one powercap tree.

    Args:
        root: Folder of the tree, normally ``/sys/class/powercap``.
        period_s: Time between two reads, in seconds.
        simulated: True if a virtual node stands behind it.
    """

    name = "rapl"
    pacing = Pacing.DEADLINE

    def __init__(self, root: Path, period_s: float = 0.1, simulated: bool = False) -> None:
        self.root = root
        self.period_s = period_s
        self._simulated = simulated
        self._files: list[tuple[str, int]] = []

    def open(self) -> Description:
        """Find the domains and open their counters."""
        domains = find_domains(self.root)
        if not domains:
            raise WattproofError(
                f"There is no RAPL package under {self.root} (virtual machines usually have "
                "none); remove 'rapl' from 'sources', or load the kernel module intel_rapl_msr."
            )
        return Description(
            {"root": str(self.root)},
            tuple(self._open_domain(domain) for domain in domains),
            self._simulated,
        )

    def _open_domain(self, domain: Domain) -> Channel:
        counter = domain.folder / "energy_uj"
        try:
            handle = os.open(counter, os.O_RDONLY | os.O_CLOEXEC)
            self._files.append((domain.channel, handle))
            os.pread(handle, 32, 0)
            range_uj = int(_line(domain.folder / "max_energy_range_uj"))
        except PermissionError as error:
            raise WattproofError(
                f"{counter} may be read by root only (CVE-2020-8694); run "
                f"'sudo chmod -R a+r {self.root}/intel-rapl*/' after each boot or add a udev "
                "rule for it, or remove 'rapl' from 'sources'."
            ) from error
        except (OSError, ValueError) as error:
            raise WattproofError(
                f"The RAPL domain {domain.folder} cannot be read ({error}); remove 'rapl' from "
                "'sources'."
            ) from error
        return Channel(
            name=domain.channel,
            unit="J",
            kind="energy",
            device=domain.label,
            period_s=self.period_s,
            wrap=uj_to_j(range_uj),
            identity={"name": domain.label, "path": str(domain.folder)},
        )

    def read(self) -> Sequence[Reading]:
        """Read every counter, in joules."""
        readings = []
        for channel, handle in self._files:
            value: float | None = None
            start = time.monotonic_ns()
            try:
                value = uj_to_j(int(os.pread(handle, 32, 0)))
                status = Status.OK
            except OSError as error:
                status = _STATUS.get(error.errno or 0, Status.ERROR)
            except ValueError:
                status = Status.GARBLED
            end = time.monotonic_ns()
            readings.append(Reading(channel, value, status, start_ns=start, end_ns=end))
        return readings

    def close(self) -> None:
        """Close the counters."""
        files, self._files = self._files, []
        for _, handle in files:
            with contextlib.suppress(OSError):
                os.close(handle)


def _line(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def build(settings: Mapping[str, Any], endpoints: Endpoints) -> RaplSource:
    """Make the source from a campaign's settings."""
    return RaplSource(endpoints.powercap_root, settings.get("period_s", 0.1), endpoints.simulated)
