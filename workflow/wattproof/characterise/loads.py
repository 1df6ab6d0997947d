"""Loads that can be switched: a command (CUDA is one of ours), the virtual node, or any object.

A load tells when it switched, because only the edges that really happened count. Instants are
``time.monotonic_ns``, which all processes of a machine share.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from wattproof.characterise.pattern import Block
from wattproof.characterise.wave import Wave
from wattproof.errors import WattproofError
from wattproof.units import NS_PER_S, s_to_ns

Edge = tuple[int, bool]
"""(monotonic ns, high?)"""

READY_S = 120.0
"""CUDA, its libraries and the first product may take this long to be ready."""
ANSWER_S = 5.0
STOP_S = 2.0
"""Time to end by itself; then the program is terminated, then killed."""
HIGH, LOW, READY = "high", "low", "ready"
CUDA_EDGE_U_S = 0.003
"""Standard uncertainty of an edge of the CUDA load: power rises and falls within some ms of it."""
COMMAND_EDGE_U_S = 0.003


class Load(Protocol):
    """Something that draws much power or little.

    Attributes:
        name: For people.
        edge_u_s: Standard uncertainty of the instants that `switch` returns, in seconds.
    """

    name: str
    edge_u_s: float

    def start(self) -> None:
        """Get ready, low."""
        ...

    def switch(self, high: bool) -> int:
        """Switch, and return the instant (monotonic ns) at which the power began to follow."""
        ...

    def stop(self) -> None:
        """End. Safe to call twice."""
        ...


class CommandLoad:
    """A program that reads lines ``high`` and ``low`` on its standard input.

    It writes ``ready`` when it may begin, and answers each line as soon as it has switched: with
    ``high`` or ``low``, and after a blank with its instant in nanoseconds of CLOCK_MONOTONIC if it
    knows it better than by the arrival of its answer. It ends with the end of its input.

    Args:
        command: Command line.
        name: For people.
        edge_u_s: Standard uncertainty of its instants, in seconds.
        env: Environment; that of this process if None.
    """

    def __init__(
        self,
        command: Sequence[str],
        name: str = "",
        edge_u_s: float = COMMAND_EDGE_U_S,
        env: dict[str, str] | None = None,
    ) -> None:
        self.name = name or " ".join(command)
        self.edge_u_s = edge_u_s
        self._command = list(command)
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
        self._unread = b""

    def start(self) -> None:
        """Start the program and wait until it is ready.

        Raises:
            WattproofError: If it cannot be started or does not become ready.
        """
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=self._env,
                start_new_session=True,  # Ctrl-C is ours to handle
            )
        except OSError as error:
            raise WattproofError(f"The load '{self.name}' cannot be started: {error}.") from error
        word = self._answer(READY_S)[0]
        if word != READY:
            raise self._wrong(f"said '{word}' and not '{READY}' first")

    def switch(self, high: bool) -> int:
        """Tell the program to switch, and wait for its answer.

        Raises:
            WattproofError: If it ended, does not answer, or answers something else.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        word = HIGH if high else LOW
        asked_ns = time.monotonic_ns()
        try:
            self._process.stdin.write(f"{word}\n".encode())
            self._process.stdin.flush()
        except OSError as error:
            raise self._wrong("ended") from error
        said, at_ns, arrived_ns = self._answer(ANSWER_S)
        if said != word:
            raise self._wrong(f"answered '{said}' to '{word}'")
        if at_ns is None:
            return arrived_ns
        if not asked_ns - NS_PER_S < at_ns <= arrived_ns:
            raise self._wrong(
                f"answered '{word}' with an instant of {at_ns}, which is not CLOCK_MONOTONIC "
                "in nanoseconds"
            )
        return at_ns

    def _answer(self, patience_s: float) -> tuple[str, int | None, int]:
        """Read a line: word, instant if one is told, and its arrival."""
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + patience_s
        while b"\n" not in self._unread:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([descriptor], [], [], left_s)[0]:
                raise self._wrong(f"gave no answer for {patience_s:g} s")
            data = os.read(descriptor, 4096)
            if not data:
                raise self._wrong("ended")
            self._unread += data
        arrived_ns = time.monotonic_ns()
        line, _, self._unread = self._unread.partition(b"\n")
        word, _, instant = line.decode(errors="replace").strip().partition(" ")
        return word, int(instant) if instant.strip().isdecimal() else None, arrived_ns

    def _wrong(self, what: str) -> WattproofError:
        self.stop()
        self._errors.seek(0)
        last = self._errors.read()[-4000:].decode(errors="replace").strip().splitlines()[-1:]
        said = f" (it said: {last[0][:300]})" if last else ""
        return WattproofError(
            f"The load '{self.name}' {what}{said}; docs/characterise.md says how a load is made."
        )

    def stop(self) -> None:
        """End the program."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        for end in (lambda: None, process.terminate, process.kill):
            end()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
                break
        if process.stdout is not None:
            process.stdout.close()


def cuda_load(uuid: str) -> CommandLoad:
    """Return matrix products on one GPU, by torch.

    Raises:
        WattproofError: If torch is not there or has no CUDA.
    """
    from importlib.util import find_spec

    remedy = (
        "install torch with CUDA ('pip install torch'), or give a load of your own with "
        "--load 'COMMAND' (docs/characterise.md)"
    )
    if find_spec("torch") is None:
        raise WattproofError(f"The load needs torch, which is not installed: {remedy}.")
    command = [sys.executable, "-m", "wattproof.characterise.cuda_load"]
    # CUDA's own numbers differ from NVML's: the one GPU is named by its UUID.
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": uuid}
    return CommandLoad(command, "CUDA matrix products", CUDA_EDGE_U_S, env)


class VirtualLoad:
    """Publishes load to the virtual node's activity log.

    Args:
        activity: Path of the log.
        slot: Index of the GPU.
    """

    name = "virtual node"
    edge_u_s = 0.0

    def __init__(self, activity: Path, slot: int) -> None:
        from wattproof.virtual import ActivityWriter

        self._writer = ActivityWriter(activity)
        self._slot = slot

    def start(self) -> None:
        """Begin low."""
        self.switch(False)

    def switch(self, high: bool) -> int:
        """Publish the level."""
        level = float(high)
        before_ns = time.monotonic_ns()
        self._writer.publish(self._slot, "load", gpu_compute=level, gpu_memory=level)
        return (before_ns + time.monotonic_ns()) // 2

    def stop(self) -> None:
        """Let go of the log."""
        self._writer.close()


def play(
    load: Load, blocks: Sequence[Block], look: Callable[[], None] = lambda: None
) -> tuple[list[Edge], list[tuple[str, int, int]]]:
    """Play blocks by absolute deadlines.

    Args:
        load: A started load.
        blocks: What to play.
        look: Called now and then while the load rests or works (keeps the recorder watched).

    Returns:
        The edges as they happened, and name, start and end (ns) of each block.
    """
    edges: list[Edge] = [(load.switch(False), False)]
    spans = []
    due_ns = time.monotonic_ns()
    for block in blocks:
        begin_ns = due_ns
        for seconds, high in block.steps:
            if high != edges[-1][1]:
                edges.append((load.switch(high), high))
            due_ns += s_to_ns(seconds)
            _wait(due_ns, look)
        spans.append((block.name, begin_ns, due_ns))
    return edges, spans


LOOK_S = 0.25


def _wait(due_ns: int, look: Callable[[], None]) -> None:
    while (left_s := (due_ns - time.monotonic_ns()) / NS_PER_S) > 0:
        if left_s > 2 * LOOK_S:
            look()
            time.sleep(LOOK_S)
        else:
            time.sleep(left_s)


def wave_of(edges: Sequence[Edge], anchor_ns: int) -> Wave:
    """Return edges as a wave in seconds from an anchor."""
    import numpy as np

    t_s = np.array([(at - anchor_ns) / NS_PER_S for at, _ in edges])
    return Wave(np.maximum.accumulate(t_s), np.array([float(high) for _, high in edges]))
