"""Everything happens below a root of its own, where no account or service is touched."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from tests.board_payloads import MakePayload, write_payload

from secateur_agent.board.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    root = tmp_path / "root"
    root.mkdir()
    return Layout(root)


@pytest.fixture
def make_payload(tmp_path: Path) -> MakePayload:
    return partial(write_payload, tmp_path)
