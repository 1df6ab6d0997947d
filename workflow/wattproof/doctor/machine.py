"""What kind of machine this is, read from files that Linux shows to everybody."""

from __future__ import annotations

import os
import re
from pathlib import Path

PCI = Path("/sys/bus/pci/devices")
UNKNOWN = "unknown"
VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
_DISPLAY = ("0x0300", "0x0302", "0x0380", "0x1200")
"""PCI classes of GPUs: VGA, 3D, other display, processing accelerator."""


def text(path: str | Path) -> str:
    """Return the content of a small file; empty if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def virtual_machine() -> str:
    """Return what virtualises this machine, e.g. ``KVM``; empty on bare metal or if unknown."""
    if not re.search(r"^flags\b.*\bhypervisor\b", text("/proc/cpuinfo"), re.MULTILINE):
        return ""
    product = " ".join(
        filter(None, (text(f"/sys/class/dmi/id/{n}") for n in ("sys_vendor", "product_name")))
    )
    return product or text("/sys/hypervisor/type") or UNKNOWN


def virtual_words(virtual: str) -> str:
    """Return "this virtual machine", with its kind if that is known."""
    return "this virtual machine" + ("" if virtual == UNKNOWN else f" ({virtual})")


def container() -> str:
    """Return what kind of container this process is in; empty if in none."""
    told = text("/run/systemd/container") or os.environ.get("container", "")  # noqa: SIM112
    if told:
        return told
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    if os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER"):
        return "apptainer"
    groups = text("/proc/1/cgroup")
    for word in ("docker", "kubepods", "lxc", "containerd"):
        if word in groups:
            return word
    return ""


def gpu_vendors() -> dict[str, int]:
    """Return the GPUs on the PCI bus by vendor, whether they have a driver or not."""
    found: dict[str, int] = {}
    for device in PCI.glob("*"):
        if not text(device / "class").startswith(_DISPLAY):
            continue
        vendor = VENDORS.get(text(device / "vendor"))
        if vendor is not None:
            found[vendor] = found.get(vendor, 0) + 1
    return found


def cpu_model() -> str:
    """Return the CPU's name; empty if Linux does not tell."""
    match = re.search(r"^model name\s*:\s*(.+)$", text("/proc/cpuinfo"), re.MULTILINE)
    return match[1].strip() if match else ""


def cpus_allowed() -> float:
    """Return how many CPUs this process may use: by affinity, and by the quota of its cgroup."""
    allowed = float(len(os.sched_getaffinity(0)))
    for line in text("/proc/self/cgroup").splitlines():
        number, _, path = line.split(":", 2)
        if number == "0":
            folder = Path("/sys/fs/cgroup") / path.lstrip("/")
            for place in (folder, *folder.parents):
                quota, _, period = text(place / "cpu.max").partition(" ")
                if quota.isdigit() and period.isdigit() and int(period):
                    allowed = min(allowed, int(quota) / int(period))
                if place == Path("/sys/fs/cgroup"):
                    break
    return allowed
