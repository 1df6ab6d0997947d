"""The command of a measurement host: archive a meter, or show what an archive holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from wattproof.cli.text import note, parse_value, say
from wattproof.errors import WattproofError


def _settings(
    driver: str | None, port: str | None, pairs: list[str], config: Path | None
) -> dict[str, Any]:
    """Return the complete settings of the meter, from a campaign file or from options."""
    from wattproof.config import read_yaml, validate
    from wattproof.sources import meters

    own: dict[str, Any] = {}
    where = "wattproof meter"
    if config is not None:
        where = str(config)
        own = dict((read_yaml(config).get("sources") or {}).get("meter") or {})
        if not own:
            raise WattproofError(f"{config}: key 'sources.meter' is missing; add the meter there.")
    if driver is not None:
        own["driver"] = driver
    if port is not None:
        own["port"] = port
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise WattproofError(f"'{pair}' is not of the form key=value, e.g. cycle_s=0.1.")
        own[key] = parse_value(value)
    if "driver" not in own:
        raise WattproofError(
            f"Which meter? Give --driver (one of {', '.join(meters.names())}) and --port, or "
            "--config with a campaign file."
        )
    if own["driver"] == "archive":
        raise WattproofError(
            "The driver 'archive' reads an archive; give the driver of the meter itself, e.g. "
            "--driver lmg450."
        )
    return validate(own, meters.settings_schema(own["driver"]), where, "sources.meter")


def meter(
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="key=value of the driver, e.g. cycle_s=0.1 range_v=250 range_a=8"),
    ] = None,
    driver: Annotated[str | None, typer.Option(help="driver of the meter, e.g. lmg450")] = None,
    port: Annotated[str | None, typer.Option(help="where it is connected, /dev/ttyUSB0 …")] = None,
    config: Annotated[
        Path | None, typer.Option(help="take sources.meter of this campaign file")
    ] = None,
    archive: Annotated[Path | None, typer.Option(help="folder to archive to")] = None,
    rotate: Annotated[str, typer.Option(help="begin a new file each …")] = "1h",
    keep: Annotated[str | None, typer.Option(help="remove files older than …; else none")] = None,
    status_every: Annotated[str, typer.Option(help="say how it goes each …")] = "60s",
    show: Annotated[Path | None, typer.Option(help="only say what this archive holds")] = None,
) -> None:
    """Archive a meter continuously; a recording elsewhere takes its slice by time."""
    from wattproof import archive as room
    from wattproof.archive import duration

    if show is not None:
        say(room.show(show))
        return
    if archive is None:
        raise WattproofError("Where to? Give --archive and a folder, or --show and an archive.")
    keeping = room.Keeping(
        archive,
        _settings(driver, port, settings or [], config),
        duration.parse(rotate, "--rotate"),
        None if keep is None else duration.parse(keep, "--keep"),
        duration.parse(status_every, "--status-every"),
    )
    if keeping.keep_s is not None and keeping.keep_s < keeping.rotate_s:
        raise WattproofError(
            f"--keep {keep} is shorter than --rotate {rotate}: files would be gone before they "
            "are complete; keep them for longer."
        )
    room.keep(keeping, note)
