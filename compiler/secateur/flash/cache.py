"""Where what is made once for many boards is kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """Return ``$XDG_CACHE_HOME/secateur/<kind>``; everything in it can be made again."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "secateur" / kind
