"""Layer-wise relevance propagation: one file of rules per operator family; a file registers itself."""

from secateur.criteria.lrp.propagation import Relevance, propagate
from secateur.criteria.lrp.registry import RULES, Passed, Settings, Step, rule
from secateur.ir.discovery import import_modules

import_modules(__name__, __path__)

__all__ = ["RULES", "Passed", "Relevance", "Settings", "Step", "propagate", "rule"]
