"""Signals while a command is measured: the command gets them, and we go on until it has ended.

A signal from the terminal (Ctrl-C) reaches the command by itself, since both are in the terminal's
foreground group; one that was sent to us alone is passed on. ``sigtimedwait`` tells which it was.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
PASSED_ON = (*FROM_TERMINAL, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""By default each would end us; Slurm sends SIGUSR1 and SIGTERM to say that time is nearly up."""
ENDING = frozenset((*FROM_TERMINAL, signal.SIGTERM, signal.SIGHUP))
"""Signals that mean: come to an end."""
SI_KERNEL = 0x80
"""`si_code` of a signal that the terminal sent (<asm-generic/siginfo.h>)."""

Tick = Callable[[], None]


class Signals:
    """Catches signals for as long as the block runs; a signal that was ignored stays ignored.

    Attributes:
        ending: Signals that asked us to come to an end, in their order.
    """

    def __init__(self) -> None:
        self.ending: list[signal.Signals] = []
        self._pid: int | None = None
        self._caught: dict[signal.Signals, object] = {}
        self._child_ended = False

    @contextlib.contextmanager
    def caught(self) -> Iterator[Signals]:
        """Catch the signals of `PASSED_ON`."""
        for number in PASSED_ON:
            # `nohup` and shells that start in the background ignore signals on purpose.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._caught[number] = signal.signal(number, self._note)
        # A handler, not a mask: handlers end with exec, masks are inherited.
        before = signal.signal(signal.SIGCHLD, self._note_child)
        try:
            yield self
        finally:
            signal.signal(signal.SIGCHLD, before)
            for number, handler in self._caught.items():
                signal.signal(number, handler)  # type: ignore[arg-type]

    def pass_on_to(self, pid: int | None) -> None:
        """Pass signals on to this process from now on; None: to nobody."""
        self._pid = pid

    def _note(self, number: int, _frame: FrameType | None) -> None:
        # It came while signals were not blocked, so nobody can say from where.
        by_terminal = number in FROM_TERMINAL and _in_foreground()
        self._take(signal.Signals(number), by_terminal)

    def _note_child(self, _number: int, _frame: FrameType | None) -> None:
        self._child_ended = True

    def _take(self, number: signal.Signals, by_terminal: bool) -> None:
        if number in ENDING:
            self.ending.append(number)
        if self._pid is not None and not by_terminal:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._pid, number)

    def wait(self, seconds: float) -> None:
        """Wait for a signal or the end of a child, at most so long."""
        watched = {*self._caught, signal.SIGCHLD}
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        try:
            # What came before the mask was set has been noted by its handler.
            timeout = 0.0 if self._child_ended else seconds
            self._child_ended = False
            info = signal.sigtimedwait(watched, timeout)
        finally:
            # Children that are started later must not inherit the mask.
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        if info is not None and info.si_signo != signal.SIGCHLD:
            self._take(signal.Signals(info.si_signo), info.si_code == SI_KERNEL)

    def sleep(self, seconds: float, tick: Tick, step_s: float = 0.2) -> bool:
        """Sleep, and look after things meanwhile; a signal to end cuts it short.

        Returns:
            Whether it was cut short.
        """
        before = len(self.ending)
        end = time.monotonic() + seconds
        while len(self.ending) == before:
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.wait(min(left, step_s))
            tick()
        return True


def _in_foreground() -> bool:
    """Whether we are in the foreground group of our terminal."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
