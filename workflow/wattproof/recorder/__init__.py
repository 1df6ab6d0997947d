"""The recorder: one process per source, absolute deadlines, crash-safe streams, health, sealing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wattproof.recorder.child import Health
    from wattproof.recorder.recorder import Recorder
    from wattproof.recorder.seal import seal_session
    from wattproof.recorder.streams import StreamTail, StreamWriter, read_stream

__all__ = ["Health", "Recorder", "StreamTail", "StreamWriter", "read_stream", "seal_session"]

_HOMES = {
    "Health": "child",
    "Recorder": "recorder",
    "StreamTail": "streams",
    "StreamWriter": "streams",
    "read_stream": "streams",
    "seal_session": "seal",
}


def __getattr__(name: str) -> Any:
    # Late, because each source's process imports this package and needs neither pandas nor more.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
