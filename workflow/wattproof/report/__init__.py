"""Figures, scorecard and the report page."""

from wattproof.report.build import build
from wattproof.report.figures import draw_all
from wattproof.report.inputs import ReportInputs
from wattproof.report.provenance import provenance
from wattproof.report.style import FigureInfo

__all__ = ["FigureInfo", "ReportInputs", "build", "draw_all", "provenance"]
