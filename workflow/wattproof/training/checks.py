"""Checking values of a spec: one sentence with key and remedy for the first mistake. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wattproof.errors import WattproofError, did_you_mean

TEXT, WHOLE, NUMBER, SWITCH = "text", "a whole number", "a number", "true or false"
_KINDS: dict[str, tuple[type, ...]] = {
    TEXT: (str,),
    WHOLE: (int,),
    NUMBER: (int, float),
    SWITCH: (bool,),
}


def get(group: Mapping[str, Any], key: str, kind: str, least: float | None = None) -> Any:
    """Return the value of a key.

    Args:
        group: Where the key stands.
        key: The key.
        kind: TEXT, WHOLE, NUMBER or SWITCH.
        least: Smallest value allowed; None = any.

    Raises:
        WattproofError: The key is missing, or its value is of another kind or too small.
    """
    if key not in group:
        raise WattproofError(f"key '{key}' is missing; add it.")
    value = group[key]
    if kind == WHOLE and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, _KINDS[kind]) or isinstance(value, bool) != (kind == SWITCH):
        raise WattproofError(f"key '{key}' must be {kind}, but is {value!r}; correct it.")
    # "not at least" rather than "less than": JSON as Python reads it knows NaN.
    if isinstance(value, int | float) and least is not None and not value >= least:
        raise WattproofError(f"key '{key}' must be at least {least}, but is {value!r}; raise it.")
    return value


def choice(group: Mapping[str, Any], key: str, known: tuple[str, ...]) -> str:
    """Return the value of a key that has a few known ones.

    Raises:
        WattproofError: It is none of them.
    """
    value: str = get(group, key, TEXT)
    if value not in known:
        raise WattproofError(
            f"key '{key}' is {value!r}, which is none of {', '.join(known)}."
            f"{did_you_mean(value, known)}"
        )
    return value
