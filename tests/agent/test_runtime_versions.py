"""The version of a runtime is found by the agent's own extra, without importing anything."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from secateur_agent.runtime_versions import runtime_version


def site(folder: Path, *names: str) -> str:
    for name in names:
        (folder / f"{name}.dist-info").mkdir(parents=True)
    return str(folder)


def test_the_runtime_of_this_environment_is_found() -> None:
    assert runtime_version("onnxruntime") == importlib.metadata.version("onnxruntime")


def test_an_extra_may_name_a_distribution_that_is_called_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [site(tmp_path, "numpy-2.1.0", "edge_runner-2.3", "secateur_agent-0.1.0")])
    lines = ['Requires-Dist: edge.runner<3,>=2; extra == "tiny"', 'Requires-Dist: numpy>=1; extra == "tiny"']
    (tmp_path / "secateur_agent-0.1.0.dist-info" / "METADATA").write_text("\n".join(lines))
    assert runtime_version("tiny") == "2.3"
    assert runtime_version("other") == ""


def test_a_variant_counts_and_another_distribution_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/nowhere", site(tmp_path, "tiny_gpu-1.23.2", "tinyx-9.9", "untiny-1.0")])
    assert runtime_version("tiny") == "1.23.2"
