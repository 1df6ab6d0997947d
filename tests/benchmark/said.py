"""What a folder holds, and what a call that is refused says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wattproof.errors import WattproofError


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def sentence(call: Callable[..., object], *args: object, **kwargs: object) -> str:
    """The one line that a call is refused with."""
    with pytest.raises(WattproofError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)
