"""Finds what registers itself: every module of a package is imported, so that a new one is one new file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable


def import_modules(package: str, path: Iterable[str]) -> None:
    """Import every module of a package.

    Args:
        package: its ``__name__``.
        path: its ``__path__``.
    """
    for found in sorted(pkgutil.iter_modules(path), key=lambda module: module.name):
        importlib.import_module(f"{package}.{found.name}")
