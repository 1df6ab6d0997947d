"""From tables and figures to report.html and scorecard.json."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from wattproof.report import interactive
from wattproof.report.inputs import ReportInputs
from wattproof.report.page import TEMPLATES, render
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


def build_traces(inputs: ReportInputs, out_html: str | os.PathLike[str]) -> None:
    """Write the example recording as a page to zoom into.

    Args:
        inputs: The campaign's tables; `example` names the recording.
        out_html: The page; it needs no network.
    """
    name = inputs.example.get("recording")
    samples = inputs.example.get("samples")
    shown = [] if samples is None else [samples.assign(recording=name)]
    windows = inputs.windows[inputs.windows["recording"] == name]
    interactive.write(
        Path(out_html),
        f"{inputs.campaign}, recording {name}",
        inputs.simulated,
        shown,
        inputs.channels,
        windows[windows["level"].isin(["run", "load"])],
        (TEMPLATES / "style.css").read_text("utf-8"),
    )
