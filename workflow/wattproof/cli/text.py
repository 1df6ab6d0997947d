"""Words in and out of the terminal."""

from __future__ import annotations

import json
import sys
from typing import Any


def say(text: str) -> None:
    """Print a line for people, or a result, to standard output."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print a remark for people to standard error, where it does not mix with results."""
    sys.stderr.write(f"wattproof: {text}\n")


def parse_value(text: str) -> Any:
    """Read a value of the command line: a number or true/false where it is one, else text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
