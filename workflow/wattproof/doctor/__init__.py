"""The doctor: what can be measured on this machine, how well, and what to do about the rest."""

from __future__ import annotations

from wattproof.doctor.examine import Examination, diagnose, examine
from wattproof.doctor.findings import ENERGY_SOURCES, Finding, Grade
from wattproof.doctor.settings import Settings
from wattproof.doctor.settings import read as read_settings

__all__ = [
    "ENERGY_SOURCES",
    "Examination",
    "Finding",
    "Grade",
    "Settings",
    "diagnose",
    "examine",
    "read_settings",
]
