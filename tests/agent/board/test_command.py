"""The setup program as it is run on a board: one file, the standard library, one line for each mistake."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.board_payloads import MakePayload

from secateur.flash.setup_program import setup_program
from secateur_agent.board.command import alone
from secateur_agent.board.layout import Layout


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "secateur-setup.pyz"
    path.write_bytes(setup_program())
    return path


def run(program: Path, layout: Layout, *arguments: str) -> subprocess.CompletedProcess[str]:
    # -S: no site-packages, so nothing but the standard library.
    command = [sys.executable, "-I", "-S", str(program), "--root", str(layout.root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_it_installs_tells_and_removes_with_the_standard_library_alone(
    program: Path, layout: Layout, make_payload: MakePayload
) -> None:
    folder = make_payload()
    (layout.root / "var/log").mkdir(parents=True)
    done = run(program, layout, "install", str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((folder / "setup-status.json").read_text())["status"] == "installed"
    assert "cam-1: one is installed" in layout.log.read_text()
    shown = json.loads(run(program, layout, "status").stdout)
    assert shown == {"device": "cam-1", "release": "one", "previous": ""}
    assert run(program, layout, "remove").returncode == 0
    assert not layout.log.exists()


def test_setup_that_failed_says_why_on_the_card_too(program: Path, layout: Layout, make_payload: MakePayload) -> None:
    """Customisation that silently is not applied (raspberrypi/rpi-imager#1330): the card itself tells what went wrong."""
    folder = make_payload()
    (folder / "agent.toml").write_bytes(b"changed")
    done = run(program, layout, "install", str(folder))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    left = json.loads((folder / "setup-status.json").read_text())
    assert left["status"] == "failed"
    assert "agent.toml: is not what the host wrote" in left["text"]


@pytest.mark.parametrize("arguments", [["install", "/nowhere"], ["rollback"], ["remove"]])
def test_a_mistake_is_one_line(program: Path, layout: Layout, arguments: list[str]) -> None:
    done = run(program, layout, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("secateur-setup: failed: ")
    assert done.stderr.count("\n") == 1


def test_nothing_installed_is_a_status_too(program: Path, layout: Layout) -> None:
    assert json.loads(run(program, layout, "status").stdout) == {"device": "", "release": "", "previous": ""}


def test_whoever_listens_may_go_away(program: Path, layout: Layout, make_payload: MakePayload) -> None:
    """A connection that breaks in the middle: what has begun is finished."""
    command = [sys.executable, "-I", "-S", str(program), "--root", str(layout.root), "install", str(make_payload())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        assert process.wait(60) == 0
    assert json.loads(run(program, layout, "status").stdout)["release"] == "one"


def test_one_setup_at_a_time_also_when_many_wait(layout: Layout) -> None:
    (layout.root / "run").mkdir()
    inside, most = [], []

    def one() -> None:
        for _ in range(50):
            with alone(layout):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 300
    assert not list((layout.root / "run").iterdir())
