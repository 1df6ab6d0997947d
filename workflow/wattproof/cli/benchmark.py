"""Commands on a published benchmark."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

import wattproof
from wattproof.cli.text import parse_value, say
from wattproof.errors import WattproofError

PATH = typer.Argument(help="archive (.wattproof.zip) or folder of a published benchmark")

app = typer.Typer(
    help="What a published benchmark is, and whether it is as it was published.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def query(
    benchmark: Annotated[Path, PATH],
    settings: Annotated[
        list[str] | None, typer.Argument(help="key=value of one configuration")
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(help="after so many epochs; all, if not given")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="a noisy draw (table: this replicate); the mean without")
    ] = None,
    kind: Annotated[str, typer.Option(help="surrogate, table or live")] = "surrogate",
    energy: Annotated[
        str | None, typer.Option(help="whose energy: node, gpu or smi; the calibrated one without")
    ] = None,
    sample: Annotated[int | None, typer.Option(help="draw a configuration with this seed")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document on stdout")] = False,
) -> None:
    """Accuracy, energy, time and power of one configuration, with intervals."""
    if kind == "live":  # trains: say how it goes on
        logging.basicConfig(format="wattproof: %(message)s", level=logging.INFO)
    bench = wattproof.load(benchmark, kind=kind, energy=energy)
    config: dict[str, Any] = {} if sample is None else bench.sample(seed=sample)
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise WattproofError(
                f"'{setting}' is not of the form key=value, e.g. depth=3; keys: "
                f"{', '.join(bench.space)}."
            )
        config[key] = parse_value(value)
    result = bench.query(config, epoch=epoch, seed=seed)
    if as_json:
        found = {"config": config, "seed": seed, **asdict(result)}
        for value in found.values():
            # JSON has no NaN: what is unknown before the end of the training is null.
            if isinstance(value, dict) and value.get("value") != value.get("value"):
                value["value"] = None
        say(json.dumps(found, indent=1, allow_nan=False))
        return
    say(json.dumps(config))
    say(str(result))


@app.command()
def info(
    benchmark: Annotated[Path, PATH],
    card: Annotated[bool, typer.Option("--card", help="the whole card, as Markdown")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="manifest and card as JSON")] = False,
) -> None:
    """Say what was measured, how good the surrogates are, what it cost, and its licence."""
    from wattproof.benchmark import manifest, overview

    if card:
        say(manifest.read(benchmark)[1]["CARD.md"].decode())
        return
    found = overview.describe(benchmark)
    say(json.dumps(found, indent=1) if as_json else overview.text(found))


@app.command()
def verify(
    benchmark: Annotated[Path, PATH],
    digest: Annotated[
        str | None, typer.Option(help="of the manifest, as its publisher tells it")
    ] = None,
) -> None:
    """Check every byte against the manifest; exit status 1 if one was changed."""
    from wattproof.benchmark import overview

    say(overview.verify(benchmark, digest))
