"""Penalties that make channels easy to tell apart before they are scored: one file each; a file registers itself."""

from secateur.ir.discovery import import_modules
from secateur.tuning.regularisers.registry import REGULARISERS, Parameters, Regulariser, check_regulariser, regulariser

import_modules(__name__, __path__)

__all__ = ["REGULARISERS", "Parameters", "Regulariser", "check_regulariser", "regulariser"]
