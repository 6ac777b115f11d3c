"""From ONNX nodes to nodes of the normal form: one file per family of operators. A file registers itself."""

from secateur.ir.discovery import import_modules
from secateur.load.converters.registry import CONTROL_FLOW, CONVERTERS, Converter, converter

import_modules(__name__, __path__)

__all__ = ["CONTROL_FLOW", "CONVERTERS", "Converter", "converter"]
