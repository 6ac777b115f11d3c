"""Finds what ``module:name`` names."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from secateur.ir import SecateurError


def load_object(spec: str) -> Any:
    """Return what ``module:name`` names; the working directory is on the path.

    Raises:
        SecateurError: one line if there is no such module or name.
    """
    module_name, _, name = spec.partition(":")
    if not module_name.strip(".") or module_name.startswith(".") or not name:
        raise SecateurError(f"{spec!r}: write MODULE:NAME, or a file")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise SecateurError(f"{spec}: {error}") from None
    if not hasattr(module, name):
        raise SecateurError(f"{spec}: module {module_name} has no {name!r}")
    return getattr(module, name)
