"""How well each source agrees with the reference, per epoch and per run (principle 1)."""

from wattproof.agreement.compare import Comparison, compare, seeded
from wattproof.agreement.pairs import pairs
from wattproof.agreement.sources import LABELS, REFERENCE, assess, reference_gpu

__all__ = [
    "LABELS",
    "REFERENCE",
    "Comparison",
    "assess",
    "compare",
    "pairs",
    "reference_gpu",
    "seeded",
]
