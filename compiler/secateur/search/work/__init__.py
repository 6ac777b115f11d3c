"""Multiply-accumulates of operators: one file per family. A file registers itself."""

from secateur.ir.discovery import import_modules
from secateur.search.work.registry import WORK, Shapes, work

import_modules(__name__, __path__)

__all__ = ["WORK", "Shapes", "work"]
