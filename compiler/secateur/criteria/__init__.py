"""What a channel is worth: one file per criterion; a file registers itself."""

from secateur.criteria.registry import CRITERIA, Criterion, Evidence, Scores, criterion, descriptions, score
from secateur.ir.discovery import import_modules

import_modules(__name__, __path__)

__all__ = ["CRITERIA", "Criterion", "Evidence", "Scores", "criterion", "descriptions", "score"]
