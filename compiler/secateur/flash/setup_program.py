"""The setup program as one file that a board's own Python runs: a zip archive of the package ``secateur_agent.board``."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import secateur_agent.board

_PACKAGE = "secateur_board"
_MAIN = "import sys\nfrom secateur_board.command import main\nsys.exit(main())\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def setup_program() -> bytes:
    """Return the archive (zipapp format); the same sources are the same bytes."""
    folder = Path(str(secateur_agent.board.__file__)).parent
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "__main__.py", _MAIN.encode())
        for path in sorted(folder.glob("*.py")):
            _add(archive, f"{_PACKAGE}/{path.name}", path.read_bytes())
    return b"#!/usr/bin/env python3\n" + content.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)
