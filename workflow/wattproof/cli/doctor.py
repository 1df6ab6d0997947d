"""``wattproof doctor``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer

from wattproof.cli.text import note, say


def doctor(
    config: Annotated[
        Path | None, typer.Option(help="campaign file: look whether what it needs works")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.0, max=300.0, help="time for measuring speed; 0: look only")
    ] = 3.0,
    out: Annotated[Path, typer.Option(help="where recordings would be written")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document on stdout")] = False,
) -> None:
    """What can be measured on this machine, how well, and what to do about the rest.

    Exit status: 0 if all that the campaign file needs works (without one: at least one source of
    energy), 1 if not, 2 for a mistake on the command line or in the file.
    """
    from wattproof import doctor as room
    from wattproof.doctor import text
    from wattproof.errors import WattproofError

    try:
        settings = room.read_settings(config)
    except WattproofError as error:
        note(str(error))
        raise typer.Exit(2) from error
    found = room.examine(settings, seconds, out, (lambda _text: None) if as_json else note)
    if as_json:
        say(json.dumps(found.as_dict(), indent=1))
    else:
        width = min(max(shutil.get_terminal_size((100, 24)).columns, 60), 120)
        say("\n".join(text.lines(found, width)))
    raise typer.Exit(1 if found.lacking else 0)
