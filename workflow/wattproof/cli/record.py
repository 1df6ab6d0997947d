"""``wattproof record``."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from wattproof.cli.text import note
from wattproof.errors import WattproofError

CONTEXT = {"allow_interspersed_args": False, "ignore_unknown_options": False}
"""What stands behind the command's name is the command's, even if it looks like ours."""


def _names(values: list[str] | None) -> list[str]:
    return [name.strip() for value in values or () for name in value.split(",") if name.strip()]


def record(
    command: Annotated[
        list[str] | None, typer.Argument(help="command and its arguments", show_default=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="campaign file with 'sources' (a meter, periods …)")
    ] = None,
    sources: Annotated[
        list[str] | None, typer.Option(help="only these, e.g. nvml,rapl,host")
    ] = None,
    require: Annotated[
        list[str] | None, typer.Option(help="do not start without this source")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder of the record [wattproof-records/NAME]")
    ] = None,
    name: Annotated[str | None, typer.Option(help="name of the record [date and time]")] = None,
    idle: Annotated[
        float, typer.Option(min=0.0, help="seconds of idle to measure before and after")
    ] = 0.0,
    as_json: Annotated[
        Path | None, typer.Option("--json", help="write the summary to this file as well")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no summary")] = False,
    seal: Annotated[
        Path | None, typer.Option(help="make tables of a record that was killed; runs nothing")
    ] = None,
) -> None:
    """Measure any command with every instrument that is here.

    Ends with the command's exit code (128 + signal if a signal ended it, 127 not found, 126 not
    executable); 125 if it was not started because of wattproof. Only stderr is written to.
    """
    if seal is not None:
        if command:
            raise typer.BadParameter("--seal runs no command; leave the command away.")
        from wattproof.measure.seal import seal as make

        _show(make(seal, _note), as_json, quiet)
        return
    if not command:
        raise typer.BadParameter("name a command: wattproof record -- COMMAND ARGS…")
    raise typer.Exit(
        _record(command, config, _names(sources), _names(require), out, name, idle, as_json, quiet)
    )


def _record(
    command: list[str],
    config: Path | None,
    sources: list[str],
    require: list[str],
    out: Path | None,
    name: str | None,
    idle: float,
    as_json: Path | None,
    quiet: bool,
) -> int:
    from wattproof import doctor
    from wattproof.measure import record as room
    from wattproof.measure.command import CommandError

    try:
        settings = doctor.read_settings(config, sources)
        options = room.Options(command, settings, out, name, idle, require)
        recorded = room.record(options, (lambda _text: None) if quiet else _note)
    except CommandError as error:
        _note(str(error))
        return error.exit_code
    except WattproofError as error:
        _note(str(error))
        return room.FAILED
    # From here on the command's exit code is the only one that counts.
    path = recorded.folder.path
    later = f"raw data is kept, and 'wattproof record --seal {path}' makes the tables"
    try:
        with _interruptible():
            from wattproof.measure.seal import seal as make

            _show(make(path, _note), as_json, quiet)
    except KeyboardInterrupt:
        _note(f"interrupted; {later}")
    except WattproofError as error:
        _note(f"{error} The {later}.")
    except Exception as error:  # noqa: BLE001 - a defect of ours is not the command's
        _note(f"making the tables failed ({_defect(path, error)}); the {later}, once it is mended.")
    return recorded.exit_code


def _defect(path: Path, error: Exception) -> str:
    """Keep the traceback beside the raw data; return what to say of it."""
    log = path / "raw" / "defect.log"
    with contextlib.suppress(OSError):
        log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return f"{type(error).__name__}; please report {log}"


@contextlib.contextmanager
def _interruptible() -> Any:
    """Let Ctrl-C end the making of tables, which can be done again; nothing else may."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    yield


def _show(summary: dict[str, Any], as_json: Path | None, quiet: bool) -> None:
    from wattproof.measure import text
    from wattproof.measure.folder import cannot_write

    if as_json is not None:
        import json

        try:
            as_json.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise cannot_write(as_json, error) from error
    if not quiet:
        width = min(max(shutil.get_terminal_size((100, 24)).columns, 80), 120)
        _write("\n" + "\n".join(text.lines(summary, width)) + "\n")


def _note(text: str) -> None:
    with contextlib.suppress(OSError, AttributeError):  # AttributeError: stderr is closed (2>&-)
        note(text)


def _write(text: str) -> None:
    # The terminal may be gone (SIGHUP); what was measured is on disk.
    with contextlib.suppress(OSError, AttributeError):
        sys.stderr.write(text)
        sys.stderr.flush()
