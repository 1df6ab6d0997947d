"""Commands on search spaces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from wattproof.cli.text import say


def space(
    name: Annotated[str, typer.Argument(help="name of a search space")],
    sample: Annotated[int | None, typer.Option(help="draw so many configurations")] = None,
    seed: Annotated[int, typer.Option(help="seed of the draw")] = 0,
    pilot: Annotated[
        str | None, typer.Option(help="campaign of pilot runs: draw evenly over their power")
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="enumerate its networks")] = False,
    export: Annotated[Path | None, typer.Option(help="write the ConfigSpace JSON here")] = None,
) -> None:
    """A search space: its parameters, its size, draws from it, its ConfigSpace JSON."""
    from wattproof import space as spaces
    from wattproof.space import pilot as pilots

    chosen = spaces.get(name)
    if export is not None:
        chosen.configspace().to_json(export)
        say(f"wrote {export}")
    elif count:
        of = chosen.count()
        say(f"{of.networks} distinct networks")
        say(f"{of.configurations} distinct configurations (network and recipe)")
        say(f"{of.points} of {of.grid} grid points build one of these networks")
    elif sample is not None:
        if pilot is None:
            drawn = chosen.sample(sample, seed)
        else:
            drawn, _ = pilots.draw(chosen, pilot, sample, seed)
        for config in drawn:
            network = chosen.realise(config)
            say(json.dumps({"network_key": network.key, **config}))
    else:
        say(str(chosen.configspace()))
