"""Shared by all tests: the test benches can be imported, and signals do what they usually do."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "benches"))

# Under `nohup`, or started by a shell with `&`, these are ignored, and every process that a test
# starts would inherit that: tests of Ctrl-C and of hang-ups would wait for ever.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)
