"""Code Carbon: is the library installed, and which of its rules does that version follow."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from wattproof.doctor.findings import Finding, limited, missing, ok
from wattproof.sources import names


def look(request: Mapping[str, Any]) -> list[Finding]:
    """Look at the installed version."""
    del request
    try:
        version = importlib.metadata.version("codecarbon")
    except importlib.metadata.PackageNotFoundError:
        return [
            missing(
                "codecarbon",
                "library",
                "Code Carbon is not installed.",
                "pip install codecarbon   only if you want its estimates beside measured values",
            )
        ]
    old = version.split(".")[0] in ("0", "1", "2")
    rule = "0.375 W per GiB of memory" if old else "5 W per memory module that it guesses"
    facts: dict[str, Any] = {"version": version, "ram_rule": rule}
    if "codecarbon" not in names():
        return [
            limited(
                "codecarbon",
                "library",
                f"Code Carbon {version} is installed, but this wattproof has no source for it.",
                "Update wattproof.",
                facts=facts,
            )
        ]
    return [
        ok(
            "codecarbon",
            "library",
            f"Code Carbon {version} is installed: an estimate ({rule}), not a measurement.",
            facts=facts,
        )
    ]
