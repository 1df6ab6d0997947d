"""ZES ZIMMER LMG500: the LMG450's commands, up to eight channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wattproof.sources.endpoints import Endpoints
from wattproof.sources.meters.lmg import LmgSource
from wattproof.sources.meters.lmg450 import SERIAL_SETTINGS, serial_source
from wattproof.sources.meters.lmg_settings import settings_schema

SETTINGS = settings_schema(8, **SERIAL_SETTINGS)


def build(settings: Mapping[str, Any], endpoints: Endpoints) -> LmgSource:
    """Make the source from a campaign's settings.

    Raises:
        WattproofError: If there is no port, or the line is too slow for what shall be sent.
    """
    return serial_source(settings, endpoints, ("LMG500",), SETTINGS)
