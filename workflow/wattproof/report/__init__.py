"""Figures, scorecard and the report page."""

from wattproof.report.audit import build_audit
from wattproof.report.audit_inputs import AuditInputs
from wattproof.report.build import build, build_traces
from wattproof.report.figures import draw_all
from wattproof.report.figures_search import draw_search
from wattproof.report.inputs import ReportInputs
from wattproof.report.provenance import provenance
from wattproof.report.searched import read_search
from wattproof.report.style import FigureInfo

__all__ = [
    "AuditInputs",
    "FigureInfo",
    "ReportInputs",
    "build",
    "build_audit",
    "build_traces",
    "draw_all",
    "draw_search",
    "provenance",
    "read_search",
]
