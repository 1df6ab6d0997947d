"""The doctor's findings as lines for a terminal."""

from __future__ import annotations

import textwrap

from wattproof.doctor.examine import Examination
from wattproof.doctor.findings import Finding, Grade

TITLES = {
    "nvml": "GPU (nvml)",
    "smi": "GPU (smi)",
    "rapl": "CPU (rapl)",
    "meter": "wall (meter)",
    "codecarbon": "estimates",
    "host": "host",
    "cpu": "cores",
    "clock": "clocks",
    "disk": "disk",
    "site": "machine",
    "trial": "trial",
}
GRADE_WIDTH = max(len(grade.value) for grade in Grade)
TITLE_WIDTH = max(map(len, TITLES.values()))


def lines(examination: Examination, width: int = 100) -> list[str]:
    """Return the findings as aligned lines, the verdict last."""
    found: list[str] = []
    before = ""
    for finding in examination.findings:
        title = TITLES.get(finding.subject, finding.subject)
        found += finding_lines(finding, "" if title == before else title, width)
        before = title
    return [*found, "", *textwrap.wrap(examination.verdict, width)]


def finding_lines(finding: Finding, title: str, width: int) -> list[str]:
    """Return a finding as lines: title, grade, sentence; the remedy below, behind an arrow."""
    head = f"{title:<{TITLE_WIDTH}}  {finding.grade.value:<{GRADE_WIDTH}}  "
    indent = " " * len(head)
    found = _wrap(finding.sentence, head, indent, width)
    if finding.remedy:
        found += _wrap(finding.remedy, f"{indent}-> ", f"{indent}   ", width)
    return found


def _wrap(text: str, first: str, rest: str, width: int) -> list[str]:
    # Commands are to be copied: never broken at a hyphen, and long words stay whole.
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
