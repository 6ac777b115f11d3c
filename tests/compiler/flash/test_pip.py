"""What pip complains of, in one line that helps."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wheel_factory import make_wheel

from secateur.flash import pip
from secateur.flash.target import Target

BOOKWORM = Target("3.11", "aarch64", "2.36")
UNREACHABLE = """WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('Failed to establish')'
ERROR: Could not find a version that satisfies the requirement onnxruntime (from versions: none)
ERROR: No matching distribution found for onnxruntime
"""


def test_a_package_without_a_wheel_is_named_with_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No wheel for the board (microsoft/onnxruntime#24511, #18951, #16514): which, for what, and what to do."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    make_wheel(tmp_path, "thing", tag="cp39-cp39-manylinux_2_28_x86_64")
    with pytest.raises(pip.PipError) as caught:
        pip.download(["thing"], BOOKWORM, tmp_path / "out", [tmp_path])
    line = str(caught.value)
    assert line.startswith("thing: no wheel for Python 3.11 on aarch64 with glibc 2.36")
    assert "--extra-wheels" in line


def test_wheels_of_another_machine_are_unpacked_here(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", "thing", requires=["part"], tag="cp311-cp311-manylinux_2_28_aarch64")
    make_wheel(tmp_path / "wheels", "part")
    pip.install(["thing"], BOOKWORM, tmp_path / "into", [tmp_path / "wheels"])
    assert (tmp_path / "into/thing/__init__.py").exists()
    assert (tmp_path / "into/part/__init__.py").exists()


def test_wheels_that_need_a_newer_python_than_this_are_unpacked_for_a_board_that_has_it(tmp_path: Path) -> None:
    make_wheel(tmp_path, "thing", python=">=3.98")
    pip.install(["thing"], Target("3.99", "aarch64", "2.41"), tmp_path / "into", [tmp_path])
    assert (tmp_path / "into/thing/__init__.py").exists()


def test_an_index_that_cannot_be_reached_is_not_a_missing_wheel() -> None:
    assert "secateur wheelhouse build" in pip.explain(UNREACHABLE, BOOKWORM)


@given(st.text(max_size=300))
def test_any_complaint_is_one_line(complaint: str) -> None:
    assert len(pip.explain(complaint, BOOKWORM).splitlines()) == 1
