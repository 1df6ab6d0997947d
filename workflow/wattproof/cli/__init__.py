"""The ``wattproof`` command: one file a subject; a new command is a function and a line here.

Modules of commands import what is heavy inside their functions: ``wattproof --help`` must be quick.
"""

from __future__ import annotations

import sys

import typer

import wattproof
from wattproof.cli import (
    audit,
    benchmark,
    campaign,
    characterise,
    doctor,
    merge,
    meter,
    record,
    space,
)
from wattproof.cli.text import note, say
from wattproof.errors import WattproofError

app = typer.Typer(
    help=wattproof.__doc__, no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


def version() -> None:
    """Print the version."""
    say(wattproof.__version__)


for command in (
    benchmark.query,
    space.space,
    campaign.check,
    campaign.verify,
    campaign.progress,
    merge.merge,
    audit.audit,
    characterise.characterise,
    doctor.doctor,
    meter.meter,
    version,
):
    app.command()(command)
app.command(context_settings=record.CONTEXT)(record.record)
app.add_typer(benchmark.app, name="benchmark")


def main() -> None:
    """Run the command; a user's mistake ends in one sentence and exit status 1."""
    try:
        app()
    except WattproofError as error:
        note(str(error))
        sys.exit(1)
