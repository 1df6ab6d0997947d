"""Running a snippet of Python on the stub driver, with the real nvidia-ml-py in it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from stub_nvml import StubDriver

_BEFORE = """
import json, sys, time
import pynvml as n
out = []
n.nvmlInit()
"""
_AFTER = """
n.nvmlShutdown()
print(json.dumps(out))
"""


def start_on(driver: StubDriver, snippet: str) -> subprocess.Popen[str]:
    """Start a snippet; it knows ``n`` (pynvml, initialised) and appends to ``out``."""
    return subprocess.Popen(
        [sys.executable, "-c", _BEFORE + snippet + _AFTER],
        env=driver.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result_of(process: subprocess.Popen[str], timeout_s: float = 60.0) -> list[Any]:
    """Wait for a snippet and return its ``out``."""
    output, errors = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, errors
    result: list[Any] = json.loads(output)
    return result


def run_on(driver: StubDriver, snippet: str) -> list[Any]:
    """Run a snippet to its end and return its ``out``."""
    return result_of(start_on(driver, snippet))
