"""Whole recordings of the virtual node without waiting: same model, same tables, no clock."""

from wattproof.offline.base import RunTimeline

__all__ = ["RunTimeline"]
