"""One finding: a row of table ``findings``."""

from __future__ import annotations

from typing import Any

from wattproof.quality.flags import FLAGS

Finding = dict[str, Any]


def finding(recording: str, flag: str, evidence: str, **more: Any) -> Finding:
    """Return a row of table ``findings``.

    Args:
        recording: Recording; empty for the whole set.
        flag: One of `FLAGS`; severity, principle and remedy are its own unless given.
        evidence: One sentence with the numbers.
        more: Other columns of the table.
    """
    known = FLAGS[flag]
    return {
        "recording": recording,
        "flag": flag,
        "severity": known.severity,
        "principle": known.principle,
        "source": "",
        "channel": "",
        "run_id": None,
        "window_id": None,
        "file": "",
        "affected": None,
        "of": None,
        "value": None,
        "unit": "",
        "start_ns": None,
        "end_ns": None,
        "remedy": known.remedy,
        **more,
        "evidence": evidence,
    }
