from __future__ import annotations

from pathlib import Path

import pytest


class RecordedTree:
    """Writes files of `proc` and `sys` below a root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, files: dict[str, str]) -> None:
        for relative, content in files.items():
            path = self.root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def switch_off(self, relative: str) -> None:
        """Make a file that exists and refuses to be read, as a driver does whose part is off."""
        (self.root / relative).unlink(missing_ok=True)
        (self.root / relative).mkdir(parents=True)


@pytest.fixture
def tree(tmp_path: Path) -> RecordedTree:
    return RecordedTree(tmp_path)
