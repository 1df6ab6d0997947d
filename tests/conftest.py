"""Shared by all tests: importable benches, signals and property tests that do not surprise."""

import os
import signal
import sys
import tempfile
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "benches"))

# Under `nohup`, or started by a shell with `&`, these are ignored, and every process that a test
# starts would inherit that: tests of Ctrl-C and of hang-ups would wait for ever.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)

# Recordings on the machine itself exclude each other; those of tests side by side need not.
os.environ.setdefault("WATTPROOF_LOCKS", tempfile.mkdtemp(prefix="wattproof-locks-"))

# A busy machine is no failure. In CI the same examples each time: red shall mean the change, while
# everybody else's runs go on looking for new ones.
settings.register_profile("wattproof", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("wattproof")

LONG = ("slurm", "workflow", "session", "training", "space")
"""Folders whose files take long: `make test` deals them out first, or one of them would be left
to a single worker at the end."""


def pytest_collection_modifyitems(items: list) -> None:
    """Put the tests of the long files first; within a file nothing moves."""
    root = Path(__file__).parent

    def place(item) -> int:
        folder = item.path.relative_to(root).parts[0]
        return LONG.index(folder) if folder in LONG else len(LONG)

    items.sort(key=place)
