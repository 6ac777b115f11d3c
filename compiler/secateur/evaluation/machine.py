"""This machine and its runtime, in one line each: what measured latencies hold for."""

from __future__ import annotations

import onnxruntime as ort

from secateur_agent.profiling.machine import describe_machine

__all__ = ["describe_machine", "runtime_version"]


def runtime_version() -> str:
    """Return the version of ONNX Runtime."""
    return str(ort.__version__)
