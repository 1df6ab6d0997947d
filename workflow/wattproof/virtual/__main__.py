"""``python -m wattproof.virtual NODE_DIR``: the instruments of a virtual node that need a process.

Hosts the wall meter (on a pseudo-terminal) and the powercap tree. Writes one JSON line to stdout
when both can be used; ends at the end of stdin or at SIGTERM, and takes the port away with it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from wattproof import units
from wattproof.errors import WattproofError
from wattproof.virtual.activity import ActivityReader
from wattproof.virtual.endpoints import METER_LINK, POWERCAP_FOLDER
from wattproof.virtual.meter import Dialect
from wattproof.virtual.model import PowerTrace
from wattproof.virtual.node import NodeSpec
from wattproof.virtual.port import PseudoPort
from wattproof.virtual.powercap import PowercapTree

BAD_USAGE = 2


class Stop(BaseException):
    """SIGTERM or SIGINT; not an Exception, so that nothing takes it for a failure."""


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Stop


def serve(node_dir: Path) -> None:
    """Host the instruments of a node until stdin ends.

    Raises:
        WattproofError: There is no virtual node in the folder.
    """
    spec = NodeSpec.load(node_dir)
    reader = ActivityReader(spec.activity_path)
    trace = PowerTrace(spec.parameters, spec.t0_ns)
    trace.extend(reader.poll())
    dialect = Dialect(spec, trace, time.monotonic_ns())
    powercap = PowercapTree(node_dir / POWERCAP_FOLDER, spec, trace)
    period_ns = units.s_to_ns(spec.parameters.rapl.update_period_s)
    port = PseudoPort(node_dir / METER_LINK)
    try:
        now_ns = time.monotonic_ns()
        powercap.write(now_ns)
        ready = {
            "ready": True,
            "simulated": True,
            "pid": os.getpid(),
            "meter": str(node_dir / METER_LINK),
            "powercap": str(node_dir / POWERCAP_FOLDER),
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        next_ns = now_ns + period_ns
        while True:
            wake_ns = min(next_ns, dialect.next_ns() or next_ns)
            pause_s = max(0, wake_ns - time.monotonic_ns()) * 1e-9
            readable, _, _ = select.select([0, port.fd], [], [], pause_s)
            if 0 in readable and not os.read(0, 4096):
                return
            now_ns = time.monotonic_ns()
            trace.extend(reader.poll())
            if port.fd in readable:
                port.write(dialect.feed(port.read(), now_ns))
            port.write(dialect.due(now_ns))
            if now_ns >= next_ns:
                powercap.write(now_ns)
                # Absolute deadlines; those that were missed are not made up for.
                next_ns += (now_ns - next_ns) // period_ns * period_ns + period_ns
    finally:
        port.close()
        powercap.close()
        reader.close()


def main(arguments: list[str]) -> int:
    """Run the daemon; returns its exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m wattproof.virtual NODE_DIR\n")
        return BAD_USAGE
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        serve(Path(arguments[0]).absolute())
    except Stop:
        pass
    except WattproofError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
