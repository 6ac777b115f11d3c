"""The versions of a model file are read from its first level, and from anything else nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from secateur_agent.inference.onnx_versions import OnnxVersions, onnx_versions


def model(ir: int, **opsets: int) -> bytes:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [])
    imports = [helper.make_opsetid(domain.replace("_", "."), version) for domain, version in opsets.items()]
    data: bytes = helper.make_model(graph, ir_version=ir, opset_imports=imports).SerializeToString()
    return data


@pytest.mark.parametrize(
    ("data", "versions"),
    [
        (model(9, ai_onnx=18), OnnxVersions(9, 18)),
        (model(400, com_microsoft=1, ai_onnx=300), OnnxVersions(400, 300)),
        (helper.make_model(helper.make_graph([], "g", [], []), ir_version=8).SerializeToString(), None),
    ],
)
def test_versions_are_those_of_the_file(tmp_path: Path, data: bytes, versions: OnnxVersions | None) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    found = onnx_versions(tmp_path / "m.onnx")
    assert found == versions if versions else (found is not None and found.ir == 8 and found.opset > 0)


def test_a_file_that_is_not_there_or_none_of_onnx_has_none(tmp_path: Path) -> None:
    assert onnx_versions(tmp_path / "none.onnx") is None
    (tmp_path / "m.onnx").write_bytes(b"garbage")
    assert onnx_versions(tmp_path / "m.onnx") is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.binary(max_size=200), cut=st.integers(0, 100))
def test_no_bytes_make_it_fail(tmp_path: Path, data: bytes, cut: int) -> None:
    for content in (data, model(9, ai_onnx=18)[:cut] + data):
        (tmp_path / "m.onnx").write_bytes(content)
        found = onnx_versions(tmp_path / "m.onnx")
        assert found is None or min(found) >= 0
