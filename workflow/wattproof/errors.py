"""The one error type that a user sees, and nothing else."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WattproofError(Exception):
    """A mistake or a missing thing that a user can mend.

    Commands print the message as one sentence and exit with status 1; no traceback is shown.
    State what is wrong, where, and what to do about it.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known word, else the list of known words."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f" Did you mean '{close[0]}'?"
    return f" Known: {', '.join(names)}." if names else ""
