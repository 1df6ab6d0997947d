"""``wattproof record`` as a process, plain or on a pseudo-terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WATTPROOF = str(Path(sys.executable).parent / "wattproof")


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment without RAPL, so that a test does not depend on the machine's."""
    empty = folder / "no-powercap"
    empty.mkdir(exist_ok=True)
    return {**os.environ, "WATTPROOF_POWERCAP": str(empty), "COLUMNS": "100", **(more or {})}


def record(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run ``wattproof record`` in a folder."""
    return subprocess.run(
        [WATTPROOF, "record", *arguments],
        cwd=folder,
        env=environment(folder) if env is None else dict(env),
        capture_output=True,
        text=True,
        timeout=60,
        **more,
    )


def summary(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((path / "summary.json").read_text(encoding="utf-8"))
    return content


def on_terminal(
    command: Sequence[str],
    script: Sequence[tuple[bytes, bytes]],
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
) -> tuple[int, str]:
    """Run a command on a pseudo-terminal of its own.

    Args:
        command: Command and arguments.
        script: What to wait for, and what to type then.
        cwd: Where to run it.
        env: Its environment.
        timeout_s: Longest time.

    Returns:
        Exit code and all that it wrote.
    """
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execvpe(command[0], list(command), dict(env or os.environ))
    output, todo = b"", list(script)
    end = time.monotonic() + timeout_s
    try:
        while time.monotonic() < end:
            if select.select([master], [], [], 0.05)[0]:
                try:
                    data = os.read(master, 4096)
                except OSError:  # the other side is gone
                    break
                if not data:
                    break
                output += data
            if todo and todo[0][0] in output:
                os.write(master, todo.pop(0)[1])
        else:
            os.kill(pid, 9)
            raise AssertionError(f"still running after {timeout_s} s: {output.decode()}")
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(master)
    return os.waitstatus_to_exitcode(status), output.decode()
