"""The archive of a meter: written for days on a measurement host, cut by time for a recording.

``keep`` writes it (``wattproof meter``) and ``show`` describes it. A recording whose meter has the
driver ``archive`` is framed by ``sliced``; what records without a campaign uses ``split``,
``check`` and ``slice_for``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wattproof.archive.choice import deciding, split
    from wattproof.archive.contents import show
    from wattproof.archive.cut import fetch
    from wattproof.archive.hook import check, complete, slice_for, sliced
    from wattproof.archive.keeper import Keeping, keep
    from wattproof.archive.moving import Instant, Span

_HOMES = {
    "Instant": "moving",
    "Keeping": "keeper",
    "Span": "moving",
    "check": "hook",
    "complete": "hook",
    "deciding": "choice",
    "fetch": "cut",
    "keep": "keeper",
    "show": "contents",
    "slice_for": "hook",
    "sliced": "hook",
    "split": "choice",
}

__all__ = [
    "Instant",
    "Keeping",
    "Span",
    "check",
    "complete",
    "deciding",
    "fetch",
    "keep",
    "show",
    "slice_for",
    "sliced",
    "split",
]


def __getattr__(name: str) -> Any:
    # Late: a campaign without an archive needs little of it.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
