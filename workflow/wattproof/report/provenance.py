"""Where the numbers of a report come from."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from wattproof.tables import Meta

PACKAGES = ("snakemake", "torch", "numpy", "pandas", "pyarrow", "scipy", "lightgbm", "onnxruntime")
"""Packages whose version can change a number of the report."""


def provenance(meta: Meta, config_file: str) -> dict[str, Any]:
    """Collect what a reader needs to trace the report.

    Args:
        meta: Provenance of the energy tables.
        config_file: The campaign file.

    Returns:
        A tree of texts. It holds no dates: the same inputs give the same page.
    """
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "campaign file": config_file,
        "wattproof": meta.code_version,
        "python": platform.python_version(),
        "packages": versions,
        "host": meta.host,
        "instruments": meta.instruments,
        "command": "snakemake --configfile " + config_file,
    }
