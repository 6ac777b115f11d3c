"""Environments side by side: complete or not there, and always one that runs."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.board_payloads import PYTHON, archive

from secateur_agent.board import releases
from secateur_agent.board.errors import SetupError
from secateur_agent.board.layout import Layout


def unpacked(layout: Layout, name: str, content: bytes | None = None, size: int = 100) -> Path:
    layout.opt.mkdir(parents=True, exist_ok=True)
    path = layout.root / f"{name}.tar.gz"
    path.write_bytes(archive({"site-packages/hello.py": f"name = {name!r}\n".encode()}) if content is None else content)
    return releases.unpack(layout, path, name, PYTHON, size)


def test_a_release_has_a_python_of_its_own_that_finds_its_packages(layout: Layout) -> None:
    folder = unpacked(layout, "one")
    program = [str(folder / "bin/python"), "-I", "-c", "import hello, sys; print(hello.name, sys.prefix)"]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout.split() == ["one", str(folder)]


def test_what_root_unpacks_the_agents_account_can_read(layout: Layout) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        folder = tarfile.TarInfo("site-packages/thing")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        tar.addfile(folder)
        file = tarfile.TarInfo("site-packages/thing/__init__.py")
        file.mode = 0o600
        tar.addfile(file)
    release = unpacked(layout, "one", content.getvalue())
    modes = {path.name: path.stat().st_mode & 0o777 for path in release.rglob("*") if not path.is_symlink()}
    assert modes["thing"] == 0o755
    assert modes["__init__.py"] == 0o644


def test_a_release_that_is_there_is_not_unpacked_again(layout: Layout) -> None:
    folder = unpacked(layout, "one")
    assert unpacked(layout, "one", b"not an archive") == folder


def test_what_a_power_cut_left_half_unpacked_is_made_anew(layout: Layout) -> None:
    (layout.releases / ".one.draft/lib").mkdir(parents=True)
    (layout.releases / ".one.draft/lib/old").write_text("x")
    assert not (unpacked(layout, "one") / "lib/old").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"not an archive", archive({"site-packages/a.py": b"x" * 9000})[:60]],
    ids=["empty", "not an archive", "cut off"],  # never the content: a gzip file holds the time
)
def test_a_damaged_archive_leaves_nothing(layout: Layout, content: bytes) -> None:
    with pytest.raises(SetupError, match="cannot be unpacked"):
        unpacked(layout, "one", content)
    assert not list(layout.releases.iterdir())


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil", "other/evil.py", "site-packages/../../evil.py"])
def test_an_archive_writes_below_site_packages_only(layout: Layout, name: str) -> None:
    with pytest.raises(SetupError, match="site-packages"):
        unpacked(layout, "one", archive({name: b""}))


def test_an_archive_with_a_link_is_refused(layout: Layout) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        link = tarfile.TarInfo("site-packages/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(SetupError, match="neither a file nor a folder"):
        unpacked(layout, "one", content.getvalue())


def test_a_full_disk_is_refused_before_anything_is_written(layout: Layout) -> None:
    with pytest.raises(SetupError, match=r"MB are free, \d+ are needed"):
        unpacked(layout, "one", size=1 << 50)
    assert not list(layout.releases.iterdir())


def test_a_switch_remembers_what_ran_before(layout: Layout) -> None:
    for name in ("one", "two"):
        unpacked(layout, name)
        releases.switch(layout, name)
    assert (releases.current(layout), releases.previous(layout)) == ("two", "one")
    releases.switch(layout, "two")
    assert releases.previous(layout) == "one"


def test_releases_that_are_neither_current_nor_previous_go(layout: Layout) -> None:
    for name in ("one", "two", "three"):
        unpacked(layout, name)
        releases.switch(layout, name)
    releases.prune(layout)
    assert sorted(path.name for path in layout.releases.iterdir()) == ["three", "two"]


def test_a_release_on_trial_is_taken_back_after_three_starts(layout: Layout) -> None:
    for name in ("one", "two"):
        unpacked(layout, name)
    releases.begin_trial(layout, "two", "one", watched=False)
    assert [releases.count_start(layout) for _ in range(4)] == ["", "", "", "one"]
    releases.end_trial(layout)
    assert releases.count_start(layout) == ""


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"before": "one"}', b"\0\0\0\0"])
def test_a_damaged_note_of_a_trial_ends_it(layout: Layout, content: bytes) -> None:
    unpacked(layout, "one")
    layout.trial.write_bytes(content)
    assert releases.count_start(layout) == ""
    assert not layout.trial.exists()


def test_a_release_to_return_to_that_is_gone_is_not_returned_to(layout: Layout) -> None:
    unpacked(layout, "two")
    releases.begin_trial(layout, "two", "gone", watched=False)
    assert {releases.count_start(layout) for _ in range(9)} == {""}
