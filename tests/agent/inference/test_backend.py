"""Loading a rung: digest first, then the runtime; every refusal is one line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from secateur_agent.bundle.manifest import TensorSpec
from secateur_agent.inference.backend import BackendError, one_line, open_backend


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(BackendError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_altered_file_is_refused_before_the_runtime_sees_it(tiny_rungs: Any) -> None:
    load = tiny_rungs.make()
    data = bytearray(Path(load.path).read_bytes())
    data[-1] ^= 1
    Path(load.path).write_bytes(data)
    assert "altered (its digest is not the manifest's)" in refusal(lambda: open_backend(load))


def test_a_missing_file_is_refused(tiny_rungs: Any) -> None:
    load = tiny_rungs.make(path="/nowhere/r0-fp32.onnx")
    assert "r0-fp32: /nowhere/r0-fp32.onnx: No such file" in refusal(lambda: open_backend(load))


@pytest.mark.parametrize("runtime", ["tensorflow", "../backend", "", "Sub.Module"])
def test_an_unknown_runtime_is_refused_and_the_known_ones_are_named(tiny_rungs: Any, runtime: str) -> None:
    load = tiny_rungs.make(runtime=runtime)
    assert "not known here; there is onnxruntime" in refusal(lambda: open_backend(load))


def test_messages_of_a_runtime_become_one_line_of_bounded_length() -> None:
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line(ValueError("x" * 1000))) == 300


def test_a_network_of_integers_is_warmed_up_with_integers(tiny_rungs: Any) -> None:
    """Token ids, for instance: a float array would be refused."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "x"], ["g"], axis=0), helper.make_node("ReduceMean", ["g"], ["y"], axes=[1])],
        "ids",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1, 2])],
        [numpy_helper.from_array(np.ones((5, 2), np.float32), "table")],
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 13)])
    data = model.SerializeToString()
    load = tiny_rungs.make()
    Path(load.path).write_bytes(data)
    inputs = (TensorSpec(name="x", shape=(-1, 3), datatype="INT64"),)
    outputs = (TensorSpec(name="y", shape=(-1, 1, 2)),)
    load = replace(load, sha256=hashlib.sha256(data).hexdigest(), inputs=inputs, outputs=outputs)
    (y,) = open_backend(load).run({"x": np.asarray([[0, 1, 4]])})
    np.testing.assert_array_equal(y, [[[1.0, 1.0]]])
