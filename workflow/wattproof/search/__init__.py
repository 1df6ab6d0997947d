"""Search demonstration: methods at equal energy budgets, by a calibrated and by a faulty source.

`demonstrate` runs it; `summary.summarise` says what came out. Needs the extra `search`.
"""

from wattproof.search.demonstration import Settings, demonstrate
from wattproof.search.published import Published
from wattproof.search.summary import Summary, summarise

__all__ = ["Published", "Settings", "Summary", "demonstrate", "summarise"]
