"""Sources that misbehave on order, for the recorder's processes (spec key "factory")."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.base import Channel, Description, Pacing, Reading, Status


class Faulty:
    """Counts its reads; settings say what goes wrong.

    ``open``: sleep | error | crash | exit; ``block_at`` / ``block_s``: the n-th read takes so long;
    ``crash_at``, ``lost_at``, ``fail_at``: the n-th read raises, loses the device, has no value;
    ``hold_at``: the n-th read holds the interpreter's lock for ``block_s``, as a driver's call may;
    ``once``: these two only in the first process, which leaves this file;
    ``spin_at``: it computes without a pause for ``block_s``; ``burn_s``: each read takes this long.
    """

    name = "faulty"

    def __init__(self, settings: Mapping[str, Any], endpoints: object) -> None:
        del endpoints
        self.settings = dict(settings)
        self.pacing = Pacing(self.settings.get("pacing", "deadline"))
        self.period_s = self.settings.get("period_s", 0.02)
        self.reads = 0

    def open(self) -> Description:
        how = self.settings.get("open")
        if how == "sleep":
            time.sleep(60)
        if how == "error":
            raise WattproofError("The faulty source does not want to open today.")
        if how == "crash":
            raise RuntimeError("a bug in open")
        if how == "exit":
            sys.stderr.write("last words\n")
            sys.stderr.flush()
            os._exit(7)
        channel = Channel("count", "W", "power", "none", period_s=self.period_s)
        return Description({"pid": os.getpid()}, (channel,), simulated=True)

    def read(self) -> Sequence[Reading]:
        n = self.reads
        self.reads += 1
        if n in (self.settings.get("block_at"), self.settings.get("hold_at")):
            self._hang(holding=n == self.settings.get("hold_at"))
        if n == self.settings.get("spin_at"):
            end = time.monotonic() + self.settings["block_s"]
            while time.monotonic() < end:
                pass
        if n == self.settings.get("crash_at"):
            raise RuntimeError("a bug in read")
        if n == self.settings.get("lost_at"):
            raise WattproofError("The faulty device is gone.")
        if self.pacing is Pacing.STREAM:
            time.sleep(self.period_s)
        time.sleep(self.settings.get("burn_s", 0.0))
        if n == self.settings.get("fail_at"):
            return [Reading("count", None, Status.TIMEOUT)]
        return [Reading("count", float(n))]

    def _hang(self, holding: bool) -> None:
        once = self.settings.get("once")
        if once and os.path.exists(once):
            return
        if once:
            with open(once, "w", encoding="utf-8"):
                pass
        if holding:
            ctypes.PyDLL(None).sleep(int(self.settings["block_s"]))
        else:
            time.sleep(self.settings["block_s"])

    def close(self) -> None:
        marker = self.settings.get("closed")
        if marker:
            with open(marker, "a", encoding="utf-8") as file:
                file.write("closed\n")


def build(settings: Mapping[str, Any], endpoints: object) -> Faulty:
    return Faulty(settings, endpoints)


FACTORY = "faulty_sources:build"
