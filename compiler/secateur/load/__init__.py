"""Brings a PyTorch model or an ONNX file to normal form."""

from secateur.load.onnx_file import load_onnx
from secateur.load.task import ArrayTask, Task, load_task
from secateur.load.torch_model import export_module, load_model

__all__ = ["ArrayTask", "Task", "export_module", "load_model", "load_onnx", "load_task"]
