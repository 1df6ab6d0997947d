"""Commands for auditors: is the energy data of a foreign set trustworthy?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wattproof.cli.text import note, say
from wattproof.errors import WattproofError


def audit(
    files: Annotated[
        list[Path], typer.Argument(help="a manifest, or with --init the logs", show_default=False)
    ],
    init: Annotated[
        bool, typer.Option("--init", help="draft a manifest of these logs, to standard output")
    ] = False,
    fail_on: Annotated[
        str, typer.Option(help="exit with status 2 from this severity on: error, warning or never")
    ] = "never",
    cores: Annotated[int | None, typer.Option(help="CPU cores to use (default: all)")] = None,
) -> None:
    """Audit recordings that others made: align, integrate, assess, flag, report."""
    if fail_on not in ("error", "warning", "never"):
        raise WattproofError(f"--fail-on must be error, warning or never, not '{fail_on}'.")
    if init:
        from wattproof.ingest.drafting import draft

        say(draft(files))
        return
    if len(files) != 1:
        raise WattproofError("Give one manifest; draft one of several logs with --init.")
    from wattproof.audit import run

    outcome = run(files[0], note, cores)
    for line in outcome.lines():
        say(line)
    counts = outcome.counts
    bad = counts["error"] + (counts["warning"] if fail_on == "warning" else 0)
    if fail_on != "never" and bad:
        raise typer.Exit(2)
