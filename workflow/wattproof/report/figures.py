"""All figures of a campaign, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from wattproof.report import (
    figures_epochs,
    figures_fronts,
    figures_node,
    figures_run,
    figures_surrogate,
    style,
)
from wattproof.report.inputs import ReportInputs
from wattproof.report.style import Drawing, FigureInfo

FIGURES: tuple[tuple[str, str, Callable[[ReportInputs], Drawing]], ...] = (
    ("fig1", "GPU power in one run", figures_run.time_series),
    ("fig2", "Distribution of power in one run", figures_run.distribution),
    ("fig3", "GPU power against sample ratio", figures_epochs.sample_ratio),
    ("fig4", "Distribution of epoch power, all trainings", figures_epochs.epoch_power),
    ("fig5", "GPU power against utilisation", figures_epochs.utilisation),
    ("fig6", "Node power in one run: estimates and meter", figures_node.node_over_time),
    ("fig7", "Distribution of epoch node power", figures_epochs.node_epoch_power),
    ("fig8", "Relative energy error by estimator", figures_node.estimator_errors),
    ("timeline", "All sources on one clock", figures_run.timeline),
    ("clock", "Clock offsets and residuals", figures_run.clock),
    ("parts", "Parts of the node's energy", figures_node.parts),
    ("dataset", "Accuracy and energy of the runs", figures_node.dataset),
    ("predictions", "Predicted against measured", figures_surrogate.held_out),
    ("interval_coverage", "Coverage of the intervals", figures_surrogate.coverage),
    ("surrogate_growth", "Learning curve of the surrogate", figures_surrogate.growth),
    ("pareto", "Pareto fronts, measured and predicted", figures_fronts.pareto),
)
"""File stem, title and drawing function. fig1 to fig8 follow the paper's figures of that number."""


def draw_all(inputs: ReportInputs, out_dir: str | Path) -> list[FigureInfo]:
    """Draw every figure as PNG and SVG.

    Args:
        inputs: The campaign's tables; any may be empty.
        out_dir: Folder for the files; made if absent.

    Returns:
        One record a figure, in the order of `FIGURES`. A figure without data exists as well: it
        says why in words, and so does `FigureInfo.missing`.
    """
    infos = []
    with style.look():
        for name, title, draw in FIGURES:
            drawing = draw(inputs)
            infos.append(style.save(drawing, name, title, Path(out_dir), inputs.simulated))
    return infos
