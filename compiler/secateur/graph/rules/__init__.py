"""One file per family of operators: what each ties together and where it is a barrier. A file registers itself."""

from secateur.graph.rules.registry import RULES, Rule, rule
from secateur.ir.discovery import import_modules

import_modules(__name__, __path__)

__all__ = ["RULES", "Rule", "rule"]
