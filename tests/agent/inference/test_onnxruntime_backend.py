"""ONNX Runtime: which provider runs is told, the file must be the manifest's network, int8 does not saturate."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from secateur_agent.bundle.manifest import TensorSpec
from secateur_agent.inference.backend import BackendError, open_backend
from secateur_agent.inference.onnxruntime_backend import choose_providers

CPU = "CPUExecutionProvider"


def test_it_computes_and_tells_what_runs(tiny_rungs: Any) -> None:
    backend = open_backend(tiny_rungs.make(scale=3.0))
    (y,) = backend.run({"x": np.ones((5, 4), np.float32)})
    np.testing.assert_array_equal(y, np.full((5, 2), 12.0, np.float32))
    assert (backend.providers, backend.fallback) == ((CPU,), "")


def test_a_provider_that_is_not_there_is_a_fallback_that_is_told(tiny_rungs: Any) -> None:
    backend = open_backend(tiny_rungs.make(providers=("NoSuchExecutionProvider", CPU)))
    assert backend.providers == (CPU,)
    assert backend.fallback == f"NoSuchExecutionProvider not in this build of ONNX Runtime; {CPU} runs"


def test_a_less_preferred_provider_that_is_missing_is_no_fallback() -> None:
    assert choose_providers(["A", "B"], ["A", CPU]) == (["A", CPU], "")
    assert choose_providers([], [CPU]) == ([CPU], "")
    assert choose_providers(["A", "B"], ["B", CPU])[1] == "A not in this build of ONNX Runtime; B runs"


def test_a_file_that_is_no_model_is_one_clear_line(tiny_rungs: Any) -> None:
    load = tiny_rungs.make(sha256=hashlib.sha256(b"garbage").hexdigest())
    Path(load.path).write_bytes(b"garbage")
    with pytest.raises(BackendError, match=r"^rung r0-fp32: ONNX Runtime refuses the file: [^\n]*$"):
        open_backend(load)


@pytest.mark.parametrize(
    ("ir", "opset", "takes"), [(999, 18, r"\(max supported IR version: \d+\)"), (9, 999, r"(\(up to opset \d+\))?")]
)
def test_a_file_that_is_newer_than_the_runtime_is_one_line_that_names_both(
    tiny_rungs: Any, ir: int, opset: int, takes: str
) -> None:
    """A runtime older than the file's opset says so with a source path and a C++ signature."""
    load = tiny_rungs.make()
    model = onnx.load(load.path)
    model.ir_version, model.opset_import[0].version = ir, opset
    data = model.SerializeToString()
    Path(load.path).write_bytes(data)
    line = (
        rf"^rung r0-fp32: the file \(ONNX IR {ir}, opset {opset}\) is too new for ONNX Runtime "
        rf"{re.escape(onnxruntime.__version__)} ?{takes}; install a newer one[^\n]*$"
    )
    with pytest.raises(BackendError, match=line):
        open_backend(msgspec.structs.replace(load, sha256=hashlib.sha256(data).hexdigest()))


def test_a_provider_that_fails_leaves_the_next_one_and_is_told(tiny_rungs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build with two more providers, which refuse the session (simulated: there is no GPU); the CPU is real."""
    providers = ["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU]
    start, tried = onnxruntime.InferenceSession, []

    def session(path: str, options: Any, providers: list[tuple[str, dict[str, str]]]) -> Any:
        tried.append([name for name, _ in providers])
        if len(providers) > 1:
            raise RuntimeError(f"{providers[0][0]}:\nno such\ndevice")
        return start(path, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    backend = open_backend(tiny_rungs.make(providers=tuple(providers)))
    assert tried == [providers, providers[1:], providers[2:]]
    assert backend.fallback == f"{providers[0]} failed, {CPU} runs: {providers[0]}: no such device"


def test_a_cache_that_cannot_be_written_is_told_and_the_rung_runs(tiny_rungs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build with TensorRT, which fails (simulated: there is no GPU)."""
    start = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["TensorrtExecutionProvider", CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *given, providers: start(*given, providers=providers[-1:]))
    load = tiny_rungs.make(cache=f"{tiny_rungs.folder}/r0-fp32.onnx/compiled", providers=("TensorrtExecutionProvider",))
    backend = open_backend(load)
    assert backend.providers == (CPU,)
    assert backend.fallback.startswith(f"nothing can be cached in {load.cache}: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": (TensorSpec(name="x", shape=(-1, 5)),)}, r"input 'x': the manifest says FP32 \[-1, 5\], the file"),
        ({"inputs": (TensorSpec(name="image", shape=(-1, 4)),)}, "input 'image': not in the file, which has 'x'"),
        ({"inputs": ()}, "input 'x': in the file, but not in the manifest"),
        ({"outputs": (TensorSpec(name="y", shape=(-1, 2, 1)),)}, "output 'y': the manifest says"),
        ({"outputs": (TensorSpec(name="z", shape=(-1, 2)),)}, "output 'z': not in the file, which has 'y'"),
    ],
)
def test_a_file_that_is_another_network_is_refused(tiny_rungs: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BackendError, match=message):
        open_backend(tiny_rungs.make(**changes))


def test_a_run_that_fails_is_one_clear_line(tiny_rungs: Any) -> None:
    backend = open_backend(tiny_rungs.make())
    with pytest.raises(BackendError, match=r"^rung r0-fp32: the run failed: [^\n]*$"):
        backend.run({"x": np.ones((1, 9), np.float32)})


def test_int8_with_large_values_does_not_saturate(tiny_rungs: Any) -> None:
    """Two products of 255 · 127 exceed 16 bits, which an x86 without VNNI clips unless told otherwise."""
    features = 64
    initializers = {
        "w": np.full((features, 2), 127, np.int8),
        "sx": np.float32(1.0),
        "zx": np.uint8(0),
        "sw": np.float32(1.0),
        "zw": np.int8(0),
        "sy": np.float32(10000.0),
        "zy": np.uint8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wd"]),
        helper.make_node("MatMul", ["xd", "wd"], ["p"]),
        helper.make_node("QuantizeLinear", ["p", "sy", "zy"], ["pq"]),
        helper.make_node("DequantizeLinear", ["pq", "sy", "zy"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in initializers.items()],
    )
    backend = open_backend(tiny_rungs.write(graph, "r0-int8", features))
    (y,) = backend.run({"x": np.full((1, features), 255, np.float32)})
    np.testing.assert_allclose(y, 255 * 127 * features, rtol=0.01)
