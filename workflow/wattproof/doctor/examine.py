"""The whole examination, and the short one that `wattproof record` needs after a recording."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import wattproof
from wattproof.doctor.findings import ENERGY_SOURCES, Finding, missing, works
from wattproof.doctor.isolate import look, look_at_all
from wattproof.doctor.probes import PROBES
from wattproof.doctor.settings import Settings

SCHEMA_VERSION = 1
LIMIT_S = 20.0
"""A probe that takes longer than this, and the seconds that it was given, hangs."""
TRIAL_LIMIT_S = 40.0
"""The trial waits for the start of every source; the recorder bounds that by 20 s."""
DIAGNOSIS_LIMIT_S = 8.0


@dataclass(frozen=True, slots=True)
class Examination:
    """What the doctor found.

    Attributes:
        findings: In the order of `PROBES`.
        needed: Sources that must work, from a campaign file; empty: any energy source will do.
        seconds: Time that was given to measuring speed.
    """

    findings: tuple[Finding, ...]
    needed: tuple[str, ...]
    seconds: float

    @property
    def energy_sources(self) -> list[str]:
        """Sources of energy that work, best first."""
        return [name for name in ENERGY_SOURCES if works(name, self.findings)]

    @property
    def lacking(self) -> list[str]:
        """Sources that are needed and do not work."""
        if self.needed:
            return [name for name in self.needed if not works(name, self.findings)]
        return [] if self.energy_sources else ["energy"]

    @property
    def verdict(self) -> str:
        """One sentence."""
        have = ", ".join(self.energy_sources)
        if self.needed:
            if not self.lacking:
                return f"Everything that the campaign needs works: {', '.join(self.needed)}."
            return f"The campaign cannot be measured as it is: {', '.join(self.lacking)} missing."
        if not have:
            return "No energy can be measured on this machine as it is."
        return f"Energy can be measured here with {have}."

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON; keys are described in docs/doctor.md."""
        return {
            "schema": SCHEMA_VERSION,
            "wattproof": wattproof.__version__,
            "host": platform.node(),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "ok": not self.lacking,
            "verdict": self.verdict,
            "needed": list(self.needed),
            "lacking": self.lacking,
            "energy_sources": self.energy_sources,
            "seconds": self.seconds,
            "findings": [finding.as_dict() for finding in self.findings],
        }


def examine(
    settings: Settings,
    seconds: float = 3.0,
    folder: str | Path = ".",
    progress: Callable[[str], None] = lambda _text: None,
) -> Examination:
    """Look at everything; takes some seconds, and never hangs.

    Args:
        settings: Sources of a campaign, or the usual ones (`settings.read`).
        seconds: Time for measuring speed; 0 to look only.
        folder: Where recordings would go.
        progress: Called with what is being done.
    """
    request = {"sources": settings.sources, "seconds": seconds, "folder": str(folder)}
    probes = [name for name in PROBES if name != "trial"]
    progress("looking at instruments, clocks and disk")
    found = look_at_all(probes, request, LIMIT_S + seconds)
    findings = [finding for name in probes for finding in found[name]]
    trial = {name: own for name, own in settings.sources.items() if works(name, findings)}
    if seconds and trial:
        progress(f"recording for {seconds:g} s with {', '.join(trial)}")
        limit_s = TRIAL_LIMIT_S + seconds
        findings += look("trial", {**request, "trial": trial}, limit_s)
    needed = tuple(settings.sources) if settings.file else ()
    for name in needed:
        if not any(finding.subject == name for finding in findings):
            findings.append(missing(name, "source", f"There is no probe for '{name}'."))
    return Examination(tuple(findings), needed, seconds)


def diagnose(sources: Sequence[str], settings: Settings) -> dict[str, list[Finding]]:
    """Say of some sources why they do not work and what would help; at most some seconds.

    Args:
        sources: Names of instruments.
        settings: What they were asked to do.
    """
    request = {"sources": settings.sources, "seconds": 0.0}
    known = [name for name in sources if name in PROBES]
    return look_at_all(known, request, DIAGNOSIS_LIMIT_S)
