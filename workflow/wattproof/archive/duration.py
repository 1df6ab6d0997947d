"""Durations as people write them: ``60s``, ``15min``, ``1h``, ``30d``."""

from __future__ import annotations

import re

from wattproof.errors import WattproofError

_UNITS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*")


def parse(text: str, option: str) -> float:
    """Return a duration in seconds.

    Args:
        text: A number and s, min, h, d or w; a bare number is in seconds.
        option: Option that it was given for, for the message.

    Raises:
        WattproofError: If it is not a positive duration.
    """
    match = _FORM.fullmatch(text.lower())
    if match is not None and (match[2] or "s") in _UNITS and float(match[1]) > 0:
        return float(match[1]) * _UNITS[match[2] or "s"]
    raise WattproofError(
        f"Option {option} is '{text}'; write a duration such as 90s, 15min, 1h or 30d."
    )
