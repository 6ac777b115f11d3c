"""The command: every error is one line and an exit status other than 0."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import secateur_agent
from secateur.bundle.keys import create_keys
from secateur_agent.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_keys(tmp_path / "keys")
    return tmp_path


def config(folder: Path, **changes: str) -> Path:
    values = {
        "device": "d",
        "profile": "linux-x86-64",
        "state_dir": "state",
        "trust_root": "keys/root.json",
        "listen": "127.0.0.1:0",
        **changes,
    }
    path = folder / "agent.toml"
    path.write_text("".join(f'{key} = "{value}"\n' for key, value in values.items()))
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main([str(each) for each in arguments]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("secateur-agent: ")
    return lines[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"devise": "x"}, "agent.toml: devise: is not a key"),
        ({"profile": "raspberry-pi-44"}, "agent.toml: profile: raspberry-pi-44: name: no built-in profile"),
        ({"trust_root": "nowhere.json"}, "nowhere.json: No such file or directory; copy it from the host"),
        ({"state_dir": "keys/root.json/state"}, "cannot create the folder"),
        ({"state_dir": "/proc/secateur"}, "cannot create the folder"),
        ({"listen": "8000"}, "expected HOST:PORT"),
        ({"broker": "http://x"}, "not an address"),
        ({"password_file": "none", "broker": "mqtt://h"}, "none: password_file: cannot be read"),
        ({"ca_file": "none", "broker": "mqtts://h"}, "ca_file"),
    ],
)
def test_a_wrong_configuration_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str], words: str
) -> None:
    assert words in refused(capsys, "run", "--config", config(folder, **changes))


def test_a_configuration_that_is_missing_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "none.toml: (file): cannot be read" in refused(capsys, "status", "--config", tmp_path / "none.toml")


def test_a_busy_port_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        line = refused(capsys, "run", "--config", config(folder, listen=f"127.0.0.1:{other.getsockname()[1]}"))
    assert "in use by another process" in line


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """A folder that nobody may write to: root may in spite of its mode, but not to what is mounted for reading alone."""
    path.mkdir(mode=0o500)
    if os.geteuid():
        yield
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "none", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_state_folder_that_cannot_be_written_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with unwritable(folder / "state"):
        assert "cannot write" in refused(capsys, "run", "--config", config(folder))


def test_a_bundle_that_is_none_or_not_signed_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config(folder)
    assert "no readable manifest.json" in refused(capsys, "install", folder / "none", "--config", path)
    (folder / "b").mkdir()
    (folder / "b" / "manifest.json").write_text('{"keyid": "0", "sig": "", "signed": {}}')
    assert "may not sign a bundle" in refused(capsys, "install", folder / "b", "--config", path)


def test_status_tells_what_is_installed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json", "--config", str(config(folder))]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["device"], status["running"], status["install"], status["model"]) == ("d", False, "idle", "")


def test_version_and_the_module_agree() -> None:
    command = [sys.executable, "-m", "secateur_agent", "version"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == f"{secateur_agent.__version__}\n"
