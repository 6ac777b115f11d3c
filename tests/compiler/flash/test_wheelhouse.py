"""Wheels for a board: fetched once, complete or not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.wheel_factory import make_wheel

from secateur.flash.pip import PipError
from secateur.flash.target import Target
from secateur.flash.wheelhouse import WheelhouseError, all_below, build, read

JAMMY = Target("3.10", "aarch64", "2.35")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the package index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    folder = tmp_path / "index"
    make_wheel(
        folder, "thing", requires=["part>=1", "old; python_version < '3.11'"], tag="cp310-cp310-manylinux_2_28_aarch64"
    )
    make_wheel(folder, "part", requires=["deep; python_version < '3.11'"])
    make_wheel(folder, "old")
    make_wheel(folder, "deep")
    return folder


def test_all_that_the_boards_python_needs_is_there(tmp_path: Path, index: Path) -> None:
    found = build(JAMMY, "onnxruntime", tmp_path / "house", ["thing"], [index])
    assert {name.split("-")[0] for name in found.record.wheels} == {"thing", "part", "old", "deep"}
    assert read(tmp_path / "house").record == found.record
    assert found.size == sum(path.stat().st_size for path in (tmp_path / "house").glob("*.whl"))


def test_building_again_replaces_what_is_not_needed_any_more(tmp_path: Path, index: Path) -> None:
    build(JAMMY, "onnxruntime", tmp_path / "house", ["thing"], [index])
    found = build(JAMMY, "onnxruntime", tmp_path / "house", ["old"], [index])
    assert [path.name for path in (tmp_path / "house").glob("*.whl")] == list(found.record.wheels)


def test_what_cannot_be_had_takes_nothing_away(tmp_path: Path, index: Path) -> None:
    built = build(JAMMY, "onnxruntime", tmp_path / "house", ["thing"], [index])
    with pytest.raises(PipError):
        build(JAMMY, "onnxruntime", tmp_path / "house", ["thing", "absent"], [index])
    assert read(tmp_path / "house").record == built.record


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, index: Path) -> None:
    (tmp_path / "house" / "wheelhouse.json").mkdir(parents=True)
    with pytest.raises(WheelhouseError, match="cannot be written: Is a directory"):
        build(JAMMY, "onnxruntime", tmp_path / "house", ["old"], [index])


def test_a_wheel_that_is_gone_is_noticed(tmp_path: Path, index: Path) -> None:
    found = build(JAMMY, "onnxruntime", tmp_path / "house", ["thing"], [index])
    (found.folder / found.record.wheels[0]).unlink()
    with pytest.raises(WheelhouseError, match="is missing; build it again"):
        read(found.folder)
    assert all_below(tmp_path) == []


def test_where_none_is_one_is_told_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(WheelhouseError, match="secateur wheelhouse build"):
        read(tmp_path)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.sampled_from([b'{"python":"3.11"}', b"[]", b'{"v":1}']))
def test_a_damaged_record_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "wheelhouse.json").write_bytes(content)
    with pytest.raises(WheelhouseError) as caught:
        read(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
