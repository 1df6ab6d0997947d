"""The ``wattproof`` command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import wattproof
from wattproof.errors import WattproofError

app = typer.Typer(
    help=wattproof.__doc__, no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _value(text: str) -> Any:
    """Read a value of the command line: a number or true/false where it is one, else text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


@app.command()
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
        config[key] = _value(value)
    _say(json.dumps(config))
    _say(str(bench.query(config, epoch=epoch)))


@app.command()
def space(
    name: Annotated[str, typer.Argument(help="name of a search space")],
    sample: Annotated[int | None, typer.Option(help="draw so many configurations")] = None,
    seed: Annotated[int, typer.Option(help="seed of the draw")] = 0,
    export: Annotated[Path | None, typer.Option(help="write the ConfigSpace JSON here")] = None,
) -> None:
    """A search space: its parameters, draws from it, its ConfigSpace JSON."""
    from wattproof import space as spaces

    chosen = spaces.get(name)
    if export is not None:
        chosen.configspace().to_json(export)
        _say(f"wrote {export}")
    elif sample is not None:
        for config in chosen.sample(sample, seed):
            network = chosen.realise(config)
            _say(json.dumps({"network_key": network.key, **config}))
    else:
        _say(str(chosen.configspace()))


@app.command()
def check(
    campaign: Annotated[Path, typer.Argument(help="campaign file")] = Path("config/config.yaml"),
) -> None:
    """Check a campaign file and say what it would do, without doing it."""
    from wattproof import config, plan, preflight

    root = Path(__file__).resolve().parents[2]
    schema = config.load_schema(root / "config" / "schema" / "campaign.schema.json")
    complete = config.validate(config.read_yaml(campaign), schema, str(campaign))
    preflight.check(complete, str(campaign))
    recordings = plan.by_recording(plan.make_plan(complete))
    rows = [row for part in recordings.values() for row in part]
    trainings = [row for row in rows if row.config]
    _say(
        f"{campaign}: {len(trainings)} trainings of {len({r.network_key for r in trainings})} "
        f"networks and {len(rows) - len(trainings)} calibration loads in {len(recordings)} "
        f"recordings, measured with {', '.join(complete['sources'])}."
    )


@app.command()
def verify(
    results: Annotated[Path, typer.Argument(help="folder of a simulated campaign")],
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Compare a simulated campaign with its hidden truth (virtual node only)."""
    from wattproof import verification

    found = verification.verify(results)
    _say(json.dumps(found.as_dict(), indent=1) if as_json else str(found))
    if not found.passed:
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    _say(wattproof.__version__)


def main() -> None:
    """Run the command; a user's mistake ends in one sentence and exit status 1."""
    try:
        app()
    except WattproofError as error:
        sys.stderr.write(f"wattproof: {error}\n")
        sys.exit(1)
