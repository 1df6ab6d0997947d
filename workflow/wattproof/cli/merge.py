"""The command that makes campaigns of several sites one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wattproof.cli.text import say


def merge(
    campaigns: Annotated[list[Path], typer.Argument(help="results folders of the sites")],
    into: Annotated[Path, typer.Option("--into", help="results folder of the merged campaign")],
    analysis: Annotated[
        Path | None,
        typer.Option(
            help="campaign file whose keys analysis, dataset, surrogate and benchmark are taken"
        ),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="leave out recordings that are not complete")
    ] = False,
    allow_mixed: Annotated[
        bool, typer.Option("--allow-mixed", help="simulated and real sites in one campaign")
    ] = False,
) -> None:
    """Bring campaigns of one plan from several sites into one, without training anything again."""
    from wattproof import merge as room

    done = room.merge(campaigns, into, analysis, partial, allow_mixed)
    for site in done.sites:
        left = f", {len(site.missing)} left out" if site.missing else ""
        say(f"{site.name}: {len(site.recordings)} recordings of {site.folder}{left}")
    say(f"{into}: {done.runs} runs. Next: snakemake --configfile {done.campaign_file}")
