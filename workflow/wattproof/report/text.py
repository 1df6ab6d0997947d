"""Numbers as people read them; what is unknown is said in words, never left blank."""

from __future__ import annotations

import math
from typing import Any

UNKNOWN = "not known"


def known(value: Any) -> bool:
    """Whether a cell of a frame holds a value: neither None, NaN nor pandas' NA."""
    if value is None:
        return False
    try:
        return not math.isnan(float(value))
    except TypeError:  # float(pd.NA)
        return False
    except ValueError:  # a text
        return True


def number(value: Any, digits: int = 3, unit: str = "") -> str:
    """Round to significant digits (never before the decimal point), with a thin-space unit."""
    if not known(value):
        return UNKNOWN
    x = float(value)
    if math.isinf(x):
        return "infinite" if x > 0 else "minus infinite"
    magnitude = math.floor(math.log10(abs(x))) if x else 0
    if magnitude >= 15 or magnitude < -6:
        text = f"{x:.{digits - 1}e}"
    else:
        text = f"{x:,.{max(0, digits - 1 - magnitude)}f}"
        if float(text.replace(",", "")) == 0:
            text = text.lstrip("-")
    text = text.replace("-", "\u2212").replace(",", "\u202f")
    return f"{text}\u202f{unit}" if unit else text


def whole(value: Any) -> str:
    """A count, in groups of three digits."""
    return f"{int(value):,}".replace(",", "\u202f") if known(value) else UNKNOWN


def fixed(value: Any, decimals: int = 2) -> str:
    """A number with a fixed count of decimals, e.g. a correlation."""
    if not known(value):
        return UNKNOWN
    text = f"{float(value):.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "\u2212")


def percent(value: Any, decimals: int = 1) -> str:
    """A share as a percentage: 0.103 becomes ``10.3 %``."""
    return f"{fixed(float(value) * 100, decimals)}\u202f%" if known(value) else UNKNOWN


def p_value(value: Any) -> str:
    """A p-value; tiny ones as a bound, because their digits carry nothing."""
    if not known(value):
        return UNKNOWN
    return "< 0.001" if float(value) < 1e-3 else fixed(value, 3)


def count(n: int, one: str, many: str | None = None) -> str:
    """``1 run``, ``3 runs``."""
    return f"{whole(n)} {one if n == 1 else many or f'{one}s'}"


def listed(words: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
