"""Every source at 100 Hz for a while: ``sampling_worker.py SESSION DURATION_S``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from wattproof.recorder import Recorder

PERIOD_S = 0.01
SOURCES = {
    "nvml": {"period_s": PERIOD_S},
    "rapl": {"period_s": PERIOD_S},
    "host": {"period_s": PERIOD_S},
    "smi": {"period_s": PERIOD_S, "mode": "loop"},
}


def main() -> None:
    session, duration_s = Path(sys.argv[1]), float(sys.argv[2])
    session.mkdir(parents=True)
    node = {"kind": "real", "dir": None}
    with Recorder(session, SOURCES, node, factories={"rapl": "rapl_tree:build"}) as recorder:
        print("ready", flush=True)
        start_ns = int(sys.stdin.readline())
        end_ns = start_ns + round(duration_s * 1e9)
        while time.monotonic_ns() < end_ns + 250_000_000:
            time.sleep(0.25)
            recorder.check()
    print(json.dumps({"start_ns": start_ns, "end_ns": end_ns}), flush=True)


if __name__ == "__main__":
    main()
