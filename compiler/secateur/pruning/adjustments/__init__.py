"""How an operator's attributes change when channels are cut: one file per family. A file registers itself."""

from secateur.ir.discovery import import_modules
from secateur.pruning.adjustments.registry import ADJUSTMENTS, Change, adjustment

import_modules(__name__, __path__)

__all__ = ["ADJUSTMENTS", "Change", "adjustment"]
