"""Rules that turn cheap channels into node energy, and their errors against the meter."""

# The order of these imports is the order of the estimators in tables and figures.
# isort: off
from wattproof.calibration import code_carbon, bracket, regression, load_aware
# isort: on

from wattproof.calibration import boards, recorded, transfer
from wattproof.calibration.assess import Calibration, calibrate
from wattproof.calibration.base import (
    ESTIMATORS,
    Estimator,
    Inputs,
    Outcome,
    Parameter,
    estimator,
)
from wattproof.calibration.sites import calibrate_sites

__all__ = [
    "ESTIMATORS",
    "Calibration",
    "Estimator",
    "Inputs",
    "Outcome",
    "Parameter",
    "boards",
    "bracket",
    "calibrate",
    "calibrate_sites",
    "code_carbon",
    "estimator",
    "load_aware",
    "recorded",
    "regression",
    "transfer",
]
