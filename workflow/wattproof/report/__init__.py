"""Figures, scorecard and the report page."""
