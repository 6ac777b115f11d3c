"""Which runtimes this agent knows: one ``<runtime>_backend.py`` beside this file is one runtime. Imports none of them."""

from __future__ import annotations

from pathlib import Path

_SUFFIX = "_backend"


def known_runtimes() -> list[str]:
    """Return the names of the runtimes, sorted; whether they are installed is another matter."""
    return sorted(path.stem.removesuffix(_SUFFIX) for path in Path(__file__).parent.glob(f"*{_SUFFIX}.py"))


def backend_module(runtime: str) -> str:
    """Return the name of the module with a runtime's backend."""
    return f"{__package__}.{runtime}{_SUFFIX}"
