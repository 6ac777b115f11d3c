"""The registry of converters."""

from __future__ import annotations

from collections.abc import Callable

from secateur.ir.registration import Registry
from secateur.load.builder import Converting

Converter = Callable[[Converting], None]
CONVERTERS: Registry[Converter] = Registry("converter of")
CONTROL_FLOW = ("If", "Loop", "Scan")


def converter(*names: str) -> Callable[[Converter], Converter]:
    """Register a function as the converter of these ONNX operators."""

    def register(function: Converter) -> Converter:
        CONVERTERS.register(names, function)
        return function

    return register
