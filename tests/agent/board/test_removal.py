"""Removal: nothing is left, and nothing of others is touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.board_payloads import MakePayload

from secateur_agent.board.errors import SetupError
from secateur_agent.board.install import install
from secateur_agent.board.layout import Layout
from secateur_agent.board.removal import remove


def quiet(_line: str) -> None:
    """Nobody listens."""


def files_below(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if not path.is_dir() or path.is_symlink()}


def test_no_file_is_left_behind(layout: Layout, make_payload: MakePayload) -> None:
    (layout.root / "etc").mkdir()
    (layout.root / "etc/hostname").write_text("cam-1\n")
    before = files_below(layout.root)
    install(layout, make_payload(), quiet, wait=True)
    (layout.state / "store").mkdir()
    (layout.state / "store/blob").write_bytes(b"model")
    assert files_below(layout.root) > before
    removed = remove(layout, keep_state=False)
    assert files_below(layout.root) == before
    assert str(layout.opt) in removed
    assert not layout.opt.exists()
    assert not layout.config.exists()


def test_what_the_agent_keeps_can_stay(layout: Layout, make_payload: MakePayload) -> None:
    install(layout, make_payload(), quiet, wait=True)
    (layout.state / "device.key").write_bytes(b"key")
    remove(layout, keep_state=True)
    assert (layout.state / "device.key").read_bytes() == b"key"
    assert files_below(layout.opt) == {layout.program, layout.record}, "what can remove the rest, too"
    with pytest.raises(SetupError, match="nothing is installed here"):
        remove(layout, keep_state=True)
    remove(layout, keep_state=False)
    assert not files_below(layout.root)


def test_what_a_card_brought_along_goes_too(layout: Layout, make_payload: MakePayload) -> None:
    folder = make_payload()
    install(layout, folder, quiet, wait=False)
    assert (folder / "provision.json").exists()
    assert str(folder) in remove(layout, keep_state=False)
    assert not folder.exists()


def test_a_removal_that_is_cut_off_can_be_run_again(
    layout: Layout, make_payload: MakePayload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is run from goes last."""
    count, real = 0, shutil.rmtree
    while True:
        install(layout, make_payload(), quiet, wait=True)
        calls: list[Path] = []

        def cut(path: Path, calls: list[Path] = calls, after: int = count) -> None:
            if len(calls) == after:
                raise OSError(5, "cut off", str(path))
            calls.append(path)
            real(path)

        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", cut)
            try:
                remove(layout, keep_state=False)
                break
            except SetupError:
                assert layout.program.exists()
        remove(layout, keep_state=False)
        assert not files_below(layout.root)
        count += 1
    assert count == 4


def test_where_nothing_is_installed_there_is_nothing_to_remove(layout: Layout) -> None:
    with pytest.raises(SetupError, match="nothing is installed here"):
        remove(layout, keep_state=False)


def test_a_half_installed_board_can_be_cleaned(layout: Layout) -> None:
    (layout.releases / ".one.draft").mkdir(parents=True)
    remove(layout, keep_state=False)
    assert not files_below(layout.root)
