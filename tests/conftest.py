"""Shared by all tests: the test benches in ``tests/benches`` can be imported by name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "benches"))
