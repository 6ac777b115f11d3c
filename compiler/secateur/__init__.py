"""Compile a trained network once into a ladder of nested networks, ship it signed, re-cut it on demand.

``secateur.compile`` and ``secateur.recut`` are the commands' functions; see `secateur.pipeline` and `secateur.recutting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secateur.pipeline import CompileResult, CompileSettings, compile
    from secateur.recutting import RecutRung, recut

__version__ = "0.1.0"
__all__ = ["CompileResult", "CompileSettings", "RecutRung", "__version__", "compile", "recut"]


def __getattr__(name: str) -> Any:
    # The pipeline imports torch, which takes seconds: only who uses it waits.
    if name in __all__:
        from importlib import import_module

        module = "secateur.recutting" if name in ("RecutRung", "recut") else "secateur.pipeline"
        return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
