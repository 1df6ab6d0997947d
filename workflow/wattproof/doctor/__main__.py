"""The process of one probe: ``python -m wattproof.doctor PROBE``, JSON in, findings out."""

from __future__ import annotations

import json
import os
import sys

from wattproof.doctor.probes import run


def main() -> int:
    """Run the probe that the command line names."""
    request = json.loads(sys.stdin.read() or "{}")
    # Libraries may print; only the findings go to the pipe.
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    found = run(sys.argv[1], request)
    pipe.write(json.dumps([finding.as_dict() for finding in found]))
    pipe.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
