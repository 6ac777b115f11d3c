"""TFLite files, written directly: shared weights are slices of the base in TFLite's order of axes.

The format is that of TensorFlow's schema.fbs; nothing of TensorFlow is needed to write it.
"""

from secateur.export.tflite.files import export_tflite

__all__ = ["export_tflite"]
