"""Compiling the stub library and the stub nvidia-smi, once for each state of their sources."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent
LIBRARY = "libnvidia-ml.so.1"
SMI = "nvidia-smi"

_COMMON = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function")
_LIBRARY = ("-shared", "-fPIC", "-fvisibility=hidden", f"-Wl,-soname,{LIBRARY}", "-lm", "-lpthread")


def compiler() -> str | None:
    """Return the path of gcc; None if there is none."""
    return shutil.which("gcc")


def compiled(cache: Path | None = None) -> Path:
    """Return a folder with ``lib/libnvidia-ml.so.1`` and ``bin/nvidia-smi``.

    Args:
        cache: Folder of the compiled versions; by default one of this user in the temporary folder.

    Raises:
        RuntimeError: If there is no gcc, or it refuses the sources.
    """
    files = [SOURCES / name for name in ("model.h", "nvml.c", "smi.c")]
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in files))
    digest.update(" ".join((*_COMMON, *_LIBRARY)).encode())
    home = cache or Path(tempfile.gettempdir()) / f"wattproof-stub-nvml-{os.getuid()}"
    target = home / digest.hexdigest()[:16]
    if not target.exists():
        gcc = compiler()
        if gcc is None:
            raise RuntimeError("The stub driver needs gcc, which is not here.")
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=home))
        try:
            (building / "lib").mkdir()
            (building / "bin").mkdir()
            _compile(gcc, "nvml.c", building / "lib" / LIBRARY, _LIBRARY)
            _compile(gcc, "smi.c", building / "bin" / SMI, ("-lm",))
            try:
                building.rename(target)
            except OSError:
                if not target.exists():  # else: another process was faster, and has the same
                    raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return target


def _compile(gcc: str, source: str, output: Path, options: tuple[str, ...]) -> None:
    command = [gcc, *_COMMON, str(SOURCES / source), "-o", str(output), *options]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    if outcome.returncode != 0:
        raise RuntimeError(f"gcc refuses {source}:\n{outcome.stderr}")
