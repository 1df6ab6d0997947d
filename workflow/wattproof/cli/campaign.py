"""Commands on a campaign and its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from wattproof.cli.text import say


def check(
    campaign: Annotated[Path, typer.Argument(help="campaign file")] = Path("config/config.yaml"),
) -> None:
    """Check a campaign file and say what it would do, without doing it."""
    from wattproof import config, plan, preflight

    root = Path(__file__).resolve().parents[3]
    schema = config.load_schema(root / "config" / "schema" / "campaign.schema.json")
    complete = config.validate(config.read_yaml(campaign), schema, str(campaign))
    complete = preflight.check(complete, str(campaign))
    recordings = plan.by_recording(plan.make_plan(complete))
    rows = [row for part in recordings.values() for row in part]
    trainings = [row for row in rows if row.config]
    say(
        f"{campaign}: {len(trainings)} trainings of {len({r.network_key for r in trainings})} "
        f"networks and {len(rows) - len(trainings)} calibration loads in {len(recordings)} "
        f"recordings, measured with {', '.join(complete['sources'])}."
    )


def verify(
    results: Annotated[Path, typer.Argument(help="folder of a simulated campaign")],
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Compare a simulated campaign with its hidden truth (virtual node only)."""
    from wattproof import verification

    found = verification.verify(results)
    say(json.dumps(found.as_dict(), indent=1) if as_json else str(found))
    if not found.passed:
        raise typer.Exit(1)


def progress(
    results: Annotated[Path, typer.Argument(help="folder of a campaign, e.g. results/demo")],
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Say how a campaign stands: runs done and left, watts now, energy so far, time left."""
    from wattproof.session import summary

    found = summary.summarise(results)
    say(json.dumps(found, indent=1) if as_json else summary.text(found))
