"""What the agent needs on a board is read from the agent itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.wheel_factory import make_wheel

from secateur.flash.requirements import RequirementsError, missing, needed, wheels
from secateur.flash.target import Target

BOOKWORM = Target("3.11", "aarch64", "2.36")
JAMMY = Target("3.10", "aarch64", "2.35")


def names(requirements: list[str]) -> set[str]:
    return {each.split(">")[0].split("=")[0].split("<")[0] for each in requirements}


def test_the_runtimes_extra_decides() -> None:
    onnx, tflite = names(needed(BOOKWORM, "onnxruntime")), names(needed(BOOKWORM, "tflite"))
    assert {"onnxruntime", "numpy", "paho-mqtt", "msgspec"} <= onnx
    assert "ai-edge-litert" in tflite
    assert "onnxruntime" not in tflite
    assert not {"secateur-agent", "secateur-profiles", "torch"} & (onnx | tflite)


def test_markers_are_those_of_the_board_not_of_this_python() -> None:
    assert "tomli" in names(needed(JAMMY, "onnxruntime"))
    assert "tomli" not in names(needed(BOOKWORM, "onnxruntime"))


def test_a_runtime_that_the_agent_does_not_know_is_refused() -> None:
    with pytest.raises(RequirementsError, match="'mxnet': the agent has no extra of that name"):
        needed(BOOKWORM, "mxnet")


def test_a_variant_of_the_runtime_takes_its_place(tmp_path: Path) -> None:
    """A Jetson's GPU wheel is on no package index (microsoft/onnxruntime#16514)."""
    make_wheel(tmp_path, "onnxruntime-gpu", "1.23.0", tag="cp311-cp311-linux_aarch64")
    found = needed(BOOKWORM, "onnxruntime", tmp_path)
    assert "onnxruntime-gpu==1.23.0" in found
    assert "onnxruntime" not in names([each for each in found if "gpu" not in each])


def test_extra_wheels_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequirementsError, match="no wheel"):
        wheels(tmp_path)
    (tmp_path / "renamed.whl").write_bytes(b"")
    with pytest.raises(RequirementsError, match="keep the name"):
        wheels(tmp_path)


def test_what_is_missing_for_the_boards_python_is_found(tmp_path: Path) -> None:
    info = tmp_path / "thing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\nRequires-Dist: old; python_version < '3.11'\nRequires-Dist: any\n"
    )
    assert missing(tmp_path, JAMMY) == ["any", "old"]
    assert missing(tmp_path, BOOKWORM) == ["any"]
