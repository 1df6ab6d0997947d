"""Low latency for the sampler beside a busy training, as far as permitted, never at its cost.

The lowest real-time priority puts a sampler that is due before everything ordinary: lateness under
full load falls from 10 ms to some 0.1 ms. It is bounded three times: a thread that computes for
`SOFT_S` without a pause is put back to the ordinary class, one that goes on to `HARD_S` is ended by
the kernel (and started again in the ordinary class), and children (nvidia-smi) do not inherit it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import signal
import struct
from collections.abc import Callable
from types import FrameType

REAL_TIME = "real-time"
NICE = "nice"
SHORT_SLICE = "short slice"
ORDINARY = "ordinary"

SLICE_NS = 200_000
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""Number of the system call, for which Python has no function."""
_FLAG_RESET_ON_FORK = 1
LEVEL = 1
NICENESS = -10
SOFT_S = 0.05
"""Shorter than the housekeeper's tick, at which a computing reader pauses for a moment."""
HARD_S = 2.0


def raise_priority() -> str:
    """Raise the priority of the calling thread as far as permitted.

    Returns:
        ``real-time``, ``nice``, ``short slice``, or ``ordinary`` where none is permitted.
    """
    try:
        bound = (round(SOFT_S * 1e6), round(HARD_S * 1e6))
        resource.setrlimit(resource.RLIMIT_RTTIME, bound)
        policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(LEVEL))
        return REAL_TIME
    except (OSError, ValueError):
        pass
    if _shorten_slice(NICENESS):
        return NICE
    if _shorten_slice(0):
        return SHORT_SLICE
    try:  # the kernel may be too old for slices
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
        return NICE
    except OSError:
        return ORDINARY


def _shorten_slice(niceness: int) -> bool:
    """Ask for short turns in the ordinary class: they come sooner (Linux 6.12; no permission)."""
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return False
    # struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period.
    numbers = (48, os.SCHED_OTHER, _FLAG_RESET_ON_FORK, niceness, 0, SLICE_NS, 0, 0)
    wanted = struct.pack("=IIQiIQQQ", *numbers)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.syscall(number, 0, ctypes.c_char_p(wanted), 0) == 0)


def step_back() -> None:
    """Put all threads of this process back into the ordinary class."""
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):
            # Only the privileged may take RESET_ON_FORK back.
            policy = os.SCHED_OTHER | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(int(thread), policy, os.sched_param(0))


def guard(tell: Callable[[], None]) -> None:
    """Step back when the kernel says that a thread computed too long without a pause.

    To be called in the main thread, before `raise_priority`.

    Args:
        tell: Called after it happened.
    """

    def too_long(_number: int, _frame: FrameType | None) -> None:
        step_back()
        tell()

    signal.signal(signal.SIGXCPU, too_long)
