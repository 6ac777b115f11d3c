"""The account, with the real useradd: on a copy of this machine's /etc, in a mount namespace of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from secateur_agent.board.layout import USER

_ENSURE = """
from pathlib import Path
from secateur_agent.board import accounts
from secateur_agent.board.layout import Layout
print(*accounts.ensure(Layout(Path("/"))))
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    if (
        os.geteuid() != 0
        or not shutil.which("useradd")
        or subprocess.run(["unshare", "--mount", "true"], check=False).returncode
    ):
        pytest.skip("needs root, useradd and mount namespaces")
    copy = tmp_path / "etc"
    names = ("passwd", "group", "shadow", "gshadow", "login.defs", "nsswitch.conf", "subuid", "subgid", "default", "pam.d")
    copy.mkdir()
    for name in names:
        source = Path("/etc") / name
        if source.is_dir():
            shutil.copytree(source, copy / name)
        elif source.exists():
            shutil.copy2(source, copy / name)
    _take_out(copy, "passwd", "shadow", "group", "gshadow")
    return copy


def _take_out(etc: Path, *names: str) -> None:
    for name in names:
        if (etc / name).exists():
            lines = (etc / name).read_text().splitlines(keepends=True)
            (etc / name).write_text("".join(line for line in lines if not line.startswith(f"{USER}:")))


def _ensure(etc: Path) -> str:
    """Make the account, twice. Returns: its numbers."""
    command = 'mount --bind "$1" /etc && "$2" -c "$3" && "$2" -c "$3"'
    arguments = ["unshare", "--mount", "sh", "-ec", command, "sh", str(etc), sys.executable, _ENSURE]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == second
    return first


@pytest.mark.parametrize("lost", [("group", "gshadow"), ("gshadow",), ("passwd", "shadow"), ("passwd",)])
def test_an_account_that_was_cut_off_while_it_was_made_is_completed(etc: Path, lost: tuple[str, ...]) -> None:
    made = _ensure(etc)
    _take_out(etc, *lost)
    assert _ensure(etc) == made
    assert (etc / "passwd").read_text().count(f"\n{USER}:") == 1
