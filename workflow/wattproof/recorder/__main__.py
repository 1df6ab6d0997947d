"""``python -m wattproof.recorder SPEC.json``: the process of one source."""

import sys

from wattproof.recorder.process import main

if len(sys.argv) != 2:
    sys.exit("usage: python -m wattproof.recorder SPEC.json")
sys.exit(main(sys.argv[1]))
