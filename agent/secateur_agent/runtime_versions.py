"""Which version of a runtime is installed, without importing it (or importlib.metadata, which weighs 2 MB)."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def runtime_version(distribution: str) -> str:
    """Return the installed version of a distribution, '' if there is none.

    Args:
        distribution: its name in lower case, such as ``onnxruntime``; ``onnxruntime_gpu`` and the like count too.
    """
    pattern = re.compile(rf"{re.escape(distribution)}(?:_[a-z0-9]+)?-([0-9][^-]*)\.dist-info", re.IGNORECASE)
    for folder in sys.path:
        try:
            names = sorted(path.name for path in Path(folder or ".").iterdir())
        except OSError:
            continue
        for name in names:
            if match := pattern.fullmatch(name):
                return match[1]
    return ""
