"""Operators without shared weights, one file per family. A file registers itself."""

from secateur.export.tflite.operators.registry import WRITTEN, writes
from secateur.ir.discovery import import_modules

import_modules(__name__, __path__)

__all__ = ["WRITTEN", "writes"]
