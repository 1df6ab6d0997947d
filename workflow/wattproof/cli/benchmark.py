"""Commands on a published benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

import wattproof
from wattproof.cli.text import parse_value, say
from wattproof.errors import WattproofError


def query(
    benchmark: Annotated[Path, typer.Argument(help="folder of a published benchmark")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="key=value of one configuration")
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(help="after so many epochs; all, if not given")
    ] = None,
    sample: Annotated[int | None, typer.Option(help="draw a configuration with this seed")] = None,
) -> None:
    """Accuracy, energy, time and power of one configuration, with intervals."""
    bench = wattproof.load(benchmark)
    config: dict[str, Any] = {} if sample is None else bench.sample(seed=sample)
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise WattproofError(
                f"'{setting}' is not of the form key=value, e.g. depth=3; keys: "
                f"{', '.join(bench.space)}."
            )
        config[key] = parse_value(value)
    say(json.dumps(config))
    say(str(bench.query(config, epoch=epoch)))
