"""The environment of a board: the agent as it is here, all that it needs, and nothing of this machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.wheel_factory import make_wheel, this_python

from secateur.flash.environment import build_environment
from secateur.flash.wheelhouse import Wheelhouse, build


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wheelhouse]:
    folder = tmp_path_factory.mktemp("wheels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        make_wheel(folder / "index", "thing")
        yield build(this_python(), "onnxruntime", folder / "house", ["thing"], [folder / "index"])


@pytest.fixture
def wheelhouse(tmp_path: Path, filled: Wheelhouse) -> Wheelhouse:
    """One of this test's own."""
    return replace(filled, folder=shutil.copytree(filled.folder, tmp_path / "house"))


def test_the_agent_and_its_profiles_are_in_it_with_their_metadata(tmp_path: Path, wheelhouse: Wheelhouse) -> None:
    made = build_environment(wheelhouse, tmp_path / "environments")
    with tarfile.open(made.archive) as tar:
        names = tar.getnames()
        assert all(name.split("/")[0] == "site-packages" for name in names)
        assert {(entry.mtime, entry.uid, entry.uname) for entry in tar} == {(0, 0, "")}
    assert "site-packages/secateur_agent/supervisor.py" in names
    assert "site-packages/secateur_profiles/profiles/raspberry-pi-5.toml" in names
    assert any(name.startswith("site-packages/secateur_agent-") and name.endswith("/METADATA") for name in names)
    assert "site-packages/thing/__init__.py" in names
    assert not [name for name in names if "/tests/" in name or "secateur/" in name.removeprefix("site-packages/")[:9]]


def test_modules_are_compiled_so_that_they_load_from_a_folder_that_cannot_be_written(
    tmp_path: Path, wheelhouse: Wheelhouse
) -> None:
    made = build_environment(wheelhouse, tmp_path / "environments")
    with tarfile.open(made.archive) as tar:
        tar.extractall(tmp_path / "board", filter="data")
    folder = tmp_path / "board/site-packages"
    program = f"import sys; sys.path.insert(0, {str(folder)!r}); import thing; print(thing.version, thing.__cached__)"
    done = subprocess.run([sys.executable, "-v", "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("1.0 ")
    assert f"code object from '{folder}/thing/__init__.py'" not in done.stderr  # that would be compiling it
    assert f"{folder}/thing/__pycache__" in done.stderr


def test_the_same_content_is_the_same_archive(tmp_path: Path, wheelhouse: Wheelhouse) -> None:
    first, second = (build_environment(wheelhouse, tmp_path / name) for name in ("one", "two"))
    assert first.release == second.release
    assert first.archive.read_bytes() == second.archive.read_bytes()


def test_it_is_made_once(tmp_path: Path, wheelhouse: Wheelhouse) -> None:
    first = build_environment(wheelhouse, tmp_path / "environments")
    for path in wheelhouse.folder.glob("*.whl"):
        path.unlink()  # no second installation is possible
    assert build_environment(wheelhouse, tmp_path / "environments") == first


@pytest.mark.parametrize("content", [None, "", "many"])
def test_a_cache_that_was_half_cleared_is_made_good(tmp_path: Path, wheelhouse: Wheelhouse, content: str | None) -> None:
    first = build_environment(wheelhouse, tmp_path / "environments")
    (noted,) = (tmp_path / "environments").glob("*.size")
    noted.unlink()
    if content is not None:
        noted.write_text(content)
    assert build_environment(wheelhouse, tmp_path / "environments") == first
