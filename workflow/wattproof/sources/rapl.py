"""RAPL energy counters through Linux' powercap tree: packages and their DRAM.

Facts: kernel documentation of powercap; measurement.md section 6. Values are the counters as
read; wraps are undone by `wattproof.energy`. What would count energy twice is left out (case R9):
core and uncore, which lie inside the package; the ``intel-rapl-mmio`` mirrors, unless there is
nothing else; ``psys``, which contains the packages; dies that show their package's counter again.
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

_DRIVERS = ("intel-rapl", "intel-rapl-mmio")
"""The same counters by two ways; AMD's are shown by the first one as well."""
_DIE = re.compile(r"(package-\d+)(-die-\d+)?")
MIRROR_READS = 3
MIRROR_PAUSE_S = 0.005
MIRROR_J = 1.0
"""Counters that never lie further apart are one: in 1 J, a package draws for milliseconds."""
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
    for driver in _DRIVERS:
        found = _domains(root, driver)
        if found:
            return found
    return []


def _domains(root: Path, driver: str) -> list[Domain]:
    pattern = re.compile(rf"{driver}:(\d+)(?::(\d+))?")
    folders: dict[tuple[int, int], Path] = {}
    for folder in (*root.glob(f"{driver}:*"), *root.glob(f"{driver}:*/{driver}:*")):
        match = pattern.fullmatch(folder.name)
        if match is not None:
            key = (int(match[1]), -1 if match[2] is None else int(match[2]))
            folders.setdefault(key, folder)
    names = {key: _line(folder / "name") for key, folder in folders.items()}
    packages = sorted(n for (n, sub), name in names.items() if sub < 0 and "package" in name)
    packages = _without_mirrors(packages, {n: (names[n, -1], folders[n, -1]) for n in packages})
    found = []
    for position, number in enumerate(packages):
        package = names[number, -1]
        if sum(names[other, -1] == package for other in packages) > 1:
            package = f"{package} ({folders[number, -1].name})"
        found.append(Domain(f"cpu{position}.package", folders[number, -1], package))
        for (parent, sub), name in sorted(names.items()):
            if parent == number and sub >= 0 and name == "dram":
                folder = folders[parent, sub]
                found.append(Domain(f"cpu{position}.dram", folder, f"{package}/dram"))
    return found


def _without_mirrors(packages: Sequence[int], about: Mapping[int, tuple[str, Path]]) -> list[int]:
    """Leave out dies of a package that show the counter of an earlier one again."""

    def family(number: int) -> str:
        match = _DIE.fullmatch(about[number][0])
        return match[1] if match is not None else about[number][0]

    families: dict[str, list[int]] = {}
    for number in packages:
        families.setdefault(family(number), []).append(number)
    mirrors: set[int] = set()
    for members in families.values():
        for i, number in enumerate(members):
            earlier = [m for m in members[:i] if m not in mirrors]
            if any(_one_counter(about[m][1], about[number][1]) for m in earlier):
                mirrors.add(number)
    return [number for number in packages if number not in mirrors]


def _one_counter(one: Path, other: Path) -> bool:
    """Whether two domains show one and the same counter."""
    for attempt in range(MIRROR_READS):
        if attempt:
            time.sleep(MIRROR_PAUSE_S)
        try:
            a, b = (int(_line(folder / "energy_uj")) for folder in (one, other))
        except (OSError, ValueError):
            return False
        if abs(uj_to_j(a) - uj_to_j(b)) > MIRROR_J:
            return False
    return True


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
        self._latest: dict[int, float] = {}

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
                if value == 0.0 and self._latest.get(handle):
                    # One in 10^11 wraps ends at 0; drivers that fail say 0 too (case R4).
                    value, status = None, Status.MISSING
                else:
                    self._latest[handle] = value
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
