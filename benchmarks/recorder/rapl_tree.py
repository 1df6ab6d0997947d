"""The RAPL source on the powercap tree that the benchmark built (the real one is rarely there)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wattproof.sources.rapl import RaplSource

TREE = "WATTPROOF_BENCH_POWERCAP"


def build(settings: Mapping[str, Any], endpoints: object) -> RaplSource:
    """Make the source (the recorder's hook for tests and benchmarks)."""
    del endpoints
    return RaplSource(Path(os.environ[TREE]), settings["period_s"], simulated=True)
