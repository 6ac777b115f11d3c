"""Writes rungs as model files whose shared weights are slices of the base: a recipe's program and the file are one thing."""

from secateur.export.onnx_fp32 import export_fp32
from secateur.export.onnx_int8 import export_int8
from secateur.export.program import Program, child_of

__all__ = ["Program", "child_of", "export_fp32", "export_int8"]
