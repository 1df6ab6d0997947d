"""Names of what can be wrong with an energy; the sentences for people are in `quality`."""

from __future__ import annotations

NO_SAMPLES = "no_samples"
"""No good sample inside the window."""
FEW_SAMPLES = "few_samples"
"""Fewer good samples than ``min_samples``."""
LOW_COVERAGE = "low_coverage"
"""Less than ``min_coverage`` of the window is covered: the energy is refused."""
GAP = "gap"
"""A hole between good samples longer than ``max_gap_s``."""
CLOCK_NOT_PROVEN = "clock_not_proven"
"""The alignment of the source's clock was refused: so is the energy."""
SHORT_WINDOW = "short_window"
"""Shorter than five periods of the channel."""
COUNTER_WRAP = "counter_wrap"
"""For information: the counter wrapped, and the wrap is accounted for."""
COUNTER_RESET = "counter_reset"
"""The counter restarted or jumped; what it counted between the two readings is unknown."""
COUNTER_AMBIGUOUS = "counter_ambiguous"
"""The readings allow more than one story: a reading contradicts its neighbours and was dropped,
or the counter may have wrapped more than once between two readings."""
COUNTER_RING_MISMATCH = "counter_ring_mismatch"
"""Counter and sample ring of the device contradict each other: the counter counts alone."""

FLAGS = (
    NO_SAMPLES,
    FEW_SAMPLES,
    LOW_COVERAGE,
    GAP,
    CLOCK_NOT_PROVEN,
    SHORT_WINDOW,
    COUNTER_WRAP,
    COUNTER_RESET,
    COUNTER_AMBIGUOUS,
    COUNTER_RING_MISMATCH,
)
"""All flags, in the order in which they are listed."""
