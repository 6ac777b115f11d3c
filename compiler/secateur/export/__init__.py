"""Writes rungs as model files whose shared weights are slices of the base: a recipe's program and the file are one thing.

A file's writer is a module that registers itself for a runtime and its precisions.
"""

from secateur.export.formats import Cut, file_writer, writable, write_file
from secateur.export.program import Program, child_of
from secateur.ir.discovery import import_modules

import_modules(__name__, __path__)

__all__ = ["Cut", "Program", "child_of", "file_writer", "writable", "write_file"]
