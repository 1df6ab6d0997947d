"""The command that is measured: started as a shell would, watched, and never disturbed."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wattproof.errors import WattproofError
from wattproof.measure.signals import Signals, Tick

NOT_FOUND = 127
NOT_EXECUTABLE = 126
POLL_S = 0.2
"""How often the sources are looked after while the command runs; its end is told at once."""


class CommandError(WattproofError):
    """The command cannot be started.

    Attributes:
        exit_code: 127 if it is not there, 126 if it cannot be executed, as shells say it.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Ended:
    """How the command ended.

    Attributes:
        exit_code: Its exit code; 128 + signal if a signal ended it, as shells say it.
        signal: Name of that signal; None if none did.
        cpu_s: CPU seconds of it and of its children that it waited for.
    """

    exit_code: int
    signal: str | None
    cpu_s: float


def check(command: Sequence[str]) -> None:
    """Check that a command can be started, before anything is measured.

    Raises:
        CommandError: In one sentence, with the exit code that a shell would give.
    """
    name = command[0]
    if shutil.which(name) is not None:
        return
    if os.sep in name:
        found = name if os.path.lexists(name) else None
    else:
        found = shutil.which(name, mode=os.F_OK)
    if found is None:
        if os.sep in name:
            raise CommandError(f"There is no file '{name}'.", NOT_FOUND)
        raise CommandError(
            f"Command '{name}' was not found in PATH; give its path, or check its spelling.",
            NOT_FOUND,
        )
    if Path(found).is_dir():
        raise CommandError(f"'{found}' is a folder, not a program.", NOT_EXECUTABLE)
    if not Path(found).exists():
        raise CommandError(f"'{found}' is a link to nothing.", NOT_FOUND)
    raise CommandError(
        f"'{found}' is not executable; run 'chmod +x {found}', or name its interpreter in front.",
        NOT_EXECUTABLE,
    )


def start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a command with our own terminal, files and process group.

    Raises:
        CommandError: If the system does not start it.
    """
    try:
        # Files that we were given (`cmd <(…)`, job servers) are the command's as well; our own
        # are closed on exec, as Python opens them.
        return subprocess.Popen(list(command), close_fds=False, env=dict(environment))
    except OSError as error:
        raise _trouble(command[0], error) from error


def _trouble(name: str, error: OSError) -> CommandError:
    if error.errno == errno.ENOENT:
        if shutil.which(name) is not None:
            return CommandError(
                f"'{name}' names an interpreter that is not there (see its first line, '#!').",
                NOT_EXECUTABLE,
            )
        return CommandError(f"Command '{name}' was not found.", NOT_FOUND)
    if error.errno == errno.ENOEXEC:
        return CommandError(
            f"'{name}' is neither a program nor a script with a first line '#!'; name its "
            f"interpreter in front, e.g. sh {name}.",
            NOT_EXECUTABLE,
        )
    return CommandError(f"'{name}' cannot be started ({os.strerror(error.errno or 0)}).", 126)


def wait(process: subprocess.Popen[bytes], signals: Signals, tick: Tick) -> Ended:
    """Wait until the command ends; pass signals on to it meanwhile.

    Args:
        process: The command.
        signals: Signals that are being caught.
        tick: Called a few times a second.
    """
    signals.pass_on_to(process.pid)
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            signals.wait(POLL_S)
            tick()
    finally:
        signals.pass_on_to(None)
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code
    return Ended(
        exit_code=128 - code if code < 0 else code,
        signal=_signal_name(-code) if code < 0 else None,
        cpu_s=usage.ru_utime + usage.ru_stime,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
