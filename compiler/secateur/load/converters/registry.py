"""The registry of converters."""

from __future__ import annotations

from collections.abc import Callable

from secateur.load.builder import Converting

Converter = Callable[[Converting], None]
CONVERTERS: dict[str, Converter] = {}
CONTROL_FLOW = ("If", "Loop", "Scan")


def converter(*names: str) -> Callable[[Converter], Converter]:
    """Register a function as the converter of these ONNX operators."""

    def register(function: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(names, function))
        return function

    return register
