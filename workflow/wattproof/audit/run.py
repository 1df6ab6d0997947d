"""Run the workflow on a manifest, and say what came out of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wattproof import config, ingest, tables
from wattproof.errors import WattproofError
from wattproof.quality import SEVERITIES

ROOT = Path(__file__).resolve().parents[3]
"""Where the Snakefile lies, in a clone of the repository."""

SHOWN = 12
"""Findings that are printed; all of them are in the report."""


@dataclass(frozen=True)
class Outcome:
    """What an audit found.

    Attributes:
        findings: Table ``findings``, worst first.
        folder: Folder of the outputs.
        benchmark: Whether a benchmark was made, too.
    """

    findings: pd.DataFrame
    folder: Path
    benchmark: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings by severity."""
        found = Counter(self.findings["severity"])
        return {name: found.get(name, 0) for name in SEVERITIES}

    def lines(self) -> list[str]:
        """The outcome for people, a line each."""
        counts = self.counts
        head = ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts.items())
        out = [f"{head}."]
        serious = self.findings[self.findings["severity"] != "note"]
        for row in serious.head(SHOWN).to_dict(orient="records"):
            where = " ".join(filter(None, (row["recording"], row["source"], row["channel"])))
            out.append(
                f"  {row['severity']:<8} {row['flag']}: {row['evidence']} [{where or 'set'}]"
            )
        if len(serious) > SHOWN:
            out.append(f"  … and {len(serious) - SHOWN} more.")
        out.append(f"The report is in {self.folder / 'report.html'}")
        if self.benchmark:
            out.append(f"The benchmark is in {self.folder / 'benchmark'} (wattproof.load)")
        return out


def run(manifest: Path, say: Callable[[str], None], cores: int | None = None) -> Outcome:
    """Audit the recordings that a manifest names.

    Args:
        manifest: The manifest's file.
        say: Called with lines for people while it runs.
        cores: CPU cores to use; None: all.

    Raises:
        WattproofError: The manifest or a log cannot be used, or there is no workflow here.
    """
    snakefile = ROOT / "Snakefile"
    if not snakefile.is_file():
        raise WattproofError(
            "wattproof audit runs the workflow, which is not part of the installed package; run it "
            "in a clone of the repository."
        )
    checked = ingest.read_manifest(manifest)
    for name in checked.sets:
        for form, _ in checked.sets[name].logs:
            ingest.reader(form, f"{manifest}, set '{name}'")
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(snakefile),
        "--configfile",
        str(manifest.resolve()),
        "--cores",
        str(cores or os.cpu_count() or 1),
        "--quiet",
        "all",
        "--rerun-incomplete",
        "--workflow-profile",
        "none",
        "--nolock",
    ]
    say(f"auditing {len(checked.sets)} set(s) of {manifest} …")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    folder = Path(checked.results) / checked.name
    if done.returncode != 0:
        raise WattproofError(_why(done.stdout + done.stderr, folder))
    findings = tables.read_frame(folder / "tables" / "findings.parquet", "findings")
    return Outcome(findings, folder, checked.benchmark is not None)


def _why(output: str, folder: Path) -> str:
    """The one sentence of a rule that failed, out of everything that Snakemake prints."""
    for line in output.splitlines():
        head, mark, rest = line.partition("wattproof: ")
        if mark and not head.strip():
            rule, colon, sentence = rest.partition(": ")
            return sentence if colon and rule.isidentifier() else rest
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "no output")
    return f"The workflow failed ({last.strip()}); see the logs in {folder / 'logs'}."


__all__ = ["Outcome", "config", "run"]
