"""Wattproof's recorder at work on the stub driver: ``our_worker.py PLAN OUT SESSION``.

Same protocol as ``peer_worker.py``. The recorder's processes are the real ones with the settings
that a campaign has by default; the energies come later, from the sealed tables (``ours.py``).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from peer_worker import NS_PER_S, cpu_s

from wattproof.recorder import Recorder

CHECK_S = 0.25


def main() -> None:
    plan, out, session = (Path(word) for word in sys.argv[1:4])
    duration_s = json.loads(plan.read_text(encoding="utf-8"))["duration_s"]
    session.mkdir(parents=True)
    recorder = Recorder(session, {"nvml": {}}, {"kind": "real", "dir": None})
    with recorder:
        print("ready", flush=True)
        start_ns = int(sys.stdin.readline())
        end_ns = start_ns + round(duration_s * NS_PER_S)
        cpu_start_s = cpu_s()
        began = time.monotonic()
        while time.monotonic_ns() < end_ns:
            time.sleep(CHECK_S)
            recorder.check()
        used_s = cpu_s() - cpu_start_s
        took_s = time.monotonic() - began
    out.write_text(json.dumps({"cpu_s": used_s, "duration_s": took_s}), encoding="utf-8")


if __name__ == "__main__":
    main()
