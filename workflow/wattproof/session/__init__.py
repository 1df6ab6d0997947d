"""A recording: instruments and trainings side by side, resumable, and sealed into tables."""

from wattproof.session.paths import Paths
from wattproof.session.record import InterruptedRecordingError, record
from wattproof.session.seal import seal

__all__ = ["InterruptedRecordingError", "Paths", "record", "seal"]
