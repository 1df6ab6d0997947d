"""An audit: foreign recordings through the same workflow as a campaign, from a manifest."""

from wattproof.audit.prepare import Audit, prepare
from wattproof.audit.run import run

__all__ = ["Audit", "prepare", "run"]
