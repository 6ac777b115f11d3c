"""What each operator of the normal form computes, in torch; the semantics are those of ONNX opset 18.

One file per family; a file registers itself.
"""

from secateur.ir.discovery import import_modules
from secateur.twin.operators.registry import OPERATORS, Attrs, Operator, operator

import_modules(__name__, __path__)

__all__ = ["OPERATORS", "Attrs", "Operator", "operator"]
