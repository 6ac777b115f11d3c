"""What a channel is worth: one file per criterion; a file registers itself."""

from secateur.criteria import magnitude
from secateur.criteria.registry import CRITERIA, Criterion, criterion, score

__all__ = ["CRITERIA", "Criterion", "criterion", "magnitude", "score"]
