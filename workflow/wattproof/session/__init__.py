"""A recording: instruments and trainings side by side, resumable, and sealed into tables."""

from wattproof.session.paths import Paths
from wattproof.session.record import record
from wattproof.session.seal import seal
from wattproof.session.stopping import InterruptedRecordingError

__all__ = ["InterruptedRecordingError", "Paths", "record", "seal"]
