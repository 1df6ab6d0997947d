"""Surrogates of accuracy, energy and time.

`fit` needs the extra ``surrogate``; a loaded `Predictor` needs the light core only.
"""

from wattproof.surrogate.encoding import Encoding
from wattproof.surrogate.fitting import fit
from wattproof.surrogate.predictor import Predictor

__all__ = ["Encoding", "Predictor", "fit"]
