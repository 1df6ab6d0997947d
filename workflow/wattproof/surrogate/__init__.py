"""Surrogates of accuracy, energy and time.

`fit` needs the extra ``surrogate``; a loaded `Predictor` needs the light core only.
"""

from wattproof.surrogate.encoding import Encoding
from wattproof.surrogate.fitting import Fit, fit
from wattproof.surrogate.layout import FILES
from wattproof.surrogate.predictor import Answer, Predictor

__all__ = ["FILES", "Answer", "Encoding", "Fit", "Predictor", "fit"]
