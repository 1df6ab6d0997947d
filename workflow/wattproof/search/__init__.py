"""Search demonstration: methods at equal energy budgets, by a calibrated and by a faulty source.

`demonstrate` runs it; `summary.summarise` says what came out. Needs the extra `search`.
"""

from wattproof.search.demonstration import Settings, demonstrate

__all__ = ["Settings", "demonstrate"]
