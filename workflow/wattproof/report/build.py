"""From tables and figures to report.html and scorecard.json."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from wattproof.report.inputs import ReportInputs
from wattproof.report.page import render
from wattproof.report.scorecard import Scorecard, judge
from wattproof.report.style import FigureInfo


def build(
    inputs: ReportInputs,
    figures: Sequence[FigureInfo],
    out_html: str | os.PathLike[str],
    out_scorecard: str | os.PathLike[str],
) -> Scorecard:
    """Judge the campaign and write its page and its scorecard.

    Args:
        inputs: The campaign's tables; any may be empty.
        figures: From `wattproof.report.figures.draw_all`.
        out_html: The page; one file that needs no other.
        out_scorecard: The verdicts as JSON.

    Returns:
        The scorecard.

    Raises:
        WattproofError: If a figure is missing.
    """
    scorecard = judge(inputs)
    html = render(inputs, figures, scorecard)
    text = json.dumps(scorecard.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    for path, content in ((Path(out_html), html), (Path(out_scorecard), text + "\n")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return scorecard
