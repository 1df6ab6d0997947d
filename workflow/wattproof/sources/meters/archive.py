"""A meter that is archived on another machine by `wattproof meter`: nothing is read live.

The recording takes its slice when it is sealed (`wattproof.archive`); this file only says which
settings there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from wattproof.errors import WattproofError
from wattproof.sources.endpoints import Endpoints

SETTINGS: dict[str, Any] = {
    "required": ["folder"],
    "properties": {
        "folder": {
            "type": "string",
            "minLength": 1,
            "description": "the archive as this machine sees it: mounted, or copied here",
        },
        "margin_s": {
            "type": "number",
            "minimum": 0,
            "default": 10.0,
            "description": "taken before and after the session: more than the clocks differ by",
        },
        "wait_s": {
            "type": "number",
            "minimum": 0,
            "default": 60.0,
            "description": "how long to wait for the archive to catch up; above the time between "
            "two copies",
        },
        "offset_s": {
            "type": "number",
            "default": 0.0,
            "description": "the measurement host's wall clock is ahead by about this much",
        },
    },
}


def build(settings: Mapping[str, Any], endpoints: Endpoints) -> NoReturn:
    """There is nothing to sample.

    Raises:
        WattproofError: Always.
    """
    del endpoints
    raise WattproofError(
        f"The driver 'archive' takes the slice of {settings.get('folder')} when a recording ends "
        "and cannot be read live; use `wattproof meter --show` to see what the archive holds."
    )
