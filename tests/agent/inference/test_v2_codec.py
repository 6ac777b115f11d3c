"""The codec: every request either fits the network or is refused with one line; what is encoded decodes to itself."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from secateur_agent.bundle.manifest import TensorSpec
from secateur_agent.inference.v2_codec import (
    DTYPES,
    CodecError,
    InferRequest,
    InferResponse,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

INPUTS = (TensorSpec(name="x", shape=(-1, 2)),)
OUTPUTS = (TensorSpec(name="y", shape=(-1, 2)), TensorSpec(name="z", shape=(-1, 1)))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TENSORS = st.fixed_dictionaries(
    {"name": st.just("x") | JSON_VALUES, "datatype": st.just("FP32") | JSON_VALUES},
    optional={
        "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON_VALUES,
        "data": st.lists(st.floats(width=32), max_size=4) | JSON_VALUES,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-8, 64) | JSON_VALUES}),
    },
)
ARRAYS = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda name: hnp.arrays(
        DTYPES[name],
        hnp.array_shapes(max_dims=4, max_side=4, min_dims=0),
        elements=hnp.from_dtype(DTYPES[name], allow_nan=False, allow_infinity=False),
    )
)


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0], **changes}


def decode(*tensors: dict[str, Any], tail: bytes | None = None, **fields: Any) -> InferRequest:
    head = json.dumps({"inputs": list(tensors), **fields}).encode()
    return decode_request(head + (tail or b""), None if tail is None else len(head), INPUTS, OUTPUTS, max_batch=8)


@given(st.binary(max_size=300), st.none() | st.integers(-5, 400))
def test_arbitrary_bytes_raise_only_the_own_error(body: bytes, header_length: int | None) -> None:
    for action in (lambda: decode_request(body, header_length, INPUTS, OUTPUTS), lambda: decode_response(body, None)):
        with pytest.raises(CodecError):
            action()


@settings(max_examples=300)
@given(st.lists(TENSORS | JSON_VALUES, max_size=3), JSON_VALUES, JSON_VALUES, st.binary(max_size=40), st.booleans())
def test_arbitrary_json_raises_only_the_own_error(
    tensors: list[Any], outputs: Any, parameters: Any, tail: bytes, split: bool
) -> None:
    message = {"model_name": "m", "inputs": tensors, "outputs": outputs, "parameters": parameters}
    for fields in (message, {"model_name": "m", "outputs": tensors}, {"inputs": tensors}):
        head = json.dumps(fields).encode()
        for action in (
            lambda b, n: decode_request(b, n, INPUTS, OUTPUTS),
            lambda b, n: decode_response(b, n),
        ):
            line = ""
            try:
                action(head + tail if split else head, len(head) if split else None)
            except CodecError as error:
                line = str(error)
            assert "\n" not in line


@given(st.dictionaries(st.text(max_size=8), ARRAYS, max_size=3), st.booleans())
def test_responses_come_back_as_they_were_sent(outputs: dict[str, Any], binary: bool) -> None:
    body, length = encode_response(InferResponse("m", outputs, "r1-int8", "7"), InferRequest({}, binary=binary))
    got = decode_response(body, length)
    assert (got.model_name, got.rung, got.id, list(got.outputs)) == ("m", "r1-int8", "7", list(outputs))
    for name, array in outputs.items():
        assert got.outputs[name].dtype == array.dtype
        np.testing.assert_array_equal(got.outputs[name], array)


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 8), st.just(2)), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    st.booleans(),
    st.booleans(),
    st.dictionaries(st.sampled_from(["y", "z"]), st.booleans()),
)
def test_requests_come_back_as_they_were_sent(x: Any, binary_inputs: bool, binary: bool, outputs: dict[str, bool]) -> None:
    body, length = encode_request(InferRequest({"x": x}, outputs, binary, "id-1"), binary_inputs)
    assert (length is None) == (not binary_inputs)
    got = decode_request(body, length, INPUTS, OUTPUTS)
    assert (got.outputs, got.binary, got.id) == (outputs, binary, "id-1")
    assert got.inputs["x"].dtype == np.float32
    assert got.inputs["x"].flags.aligned
    np.testing.assert_array_equal(got.inputs["x"], x)


@pytest.mark.parametrize("data", [[1, 2.5, 3, 4], [[1, 2.5], [3, 4]], [[[1], [2.5]], [[3], [4]]]])
def test_data_may_be_flat_or_nested(data: list[Any]) -> None:
    got = decode(tensor(shape=[2, 2], data=data))
    np.testing.assert_array_equal(got.inputs["x"], np.array([[1, 2.5], [3, 4]], np.float32))


def test_the_batch_may_be_one_to_the_limit() -> None:
    for batch in (1, 8):
        assert decode(tensor(shape=[batch, 2], data=[0.5] * 2 * batch)).inputs["x"].shape == (batch, 2)
    for batch in (0, 9):
        message = rf"input 'x': expected FP32 \[-1, 2\] \(batch 1 to 8\), got FP32 \[{batch}, 2\]"
        with pytest.raises(CodecError, match=message):
            decode(tensor(shape=[batch, 2], data=[0.5] * 2 * batch))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "image"}, r"input 'image': not an input; 'x' FP32 \[-1, 2\]"),
        ({"shape": [2]}, r"input 'x': expected FP32 \[-1, 2\] \(batch 1 to 8\), got FP32 \[2\]"),
        ({"shape": [1, 3]}, r"got FP32 \[1, 3\]"),
        ({"datatype": "A\nB"}, r"got 'A\\nB' \[1, 2\]"),
        ({"shape": [10**30]}, "request: "),
        ({"parameters": {"binary_data_size": 10**4000}}, "binary_data_size 8"),
        ({"datatype": "INT32"}, r"input 'x': expected FP32 .*, got INT32 \[1, 2\]"),
        ({"data": [1.0]}, r"input 'x': expected 2 values for \[1, 2\], got 1"),
        ({"data": ["1", "2"]}, "input 'x': expected FP32 values, got text"),
        ({"data": [True, False]}, "input 'x': expected FP32 values, got booleans"),
        ({"data": [1.0, None]}, "input 'x': expected FP32 values, got something else"),
        ({"data": [[1.0], [1.0, 2.0]]}, "input 'x': data is not a list of numbers, flat or nested evenly"),
        ({"data": {"a": 1}}, "input 'x': data is not a list"),
        ({"data": [1e300, 0]}, "input 'x': a value is outside the range of FP32"),
        ({"data": [10**400, 0]}, "input 'x': "),
        ({"data": [0.5] * 1000}, r"input 'x': expected 2 values for \[1, 2\], got 5000 bytes of JSON"),
        ({"parameters": {"shared_memory_region": "r"}}, "'shared_memory_region' is not supported here"),
        ({"parameters": {"binary_data_size": 8}}, "input 'x': expected 8 bytes of binary data, got 0"),
        ({"parameters": {"binary_data_size": 12}}, r"input 'x': expected binary_data_size 8 for \[1, 2\], got 12"),
        ({"parameters": {"binary_data_size": "8"}}, r"expected binary_data_size 8 for \[1, 2\], got '8'"),
    ],
)
def test_what_does_not_fit_is_named_with_what_was_expected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CodecError, match=message):
        decode(tensor(**changes))


def test_inputs_missing_twice_or_of_unequal_batch_are_refused() -> None:
    with pytest.raises(CodecError, match="input 'x': missing; expected 'x' FP32"):
        decode()
    with pytest.raises(CodecError, match="input 'x': given twice"):
        decode(tensor(), tensor())
    two = (TensorSpec(name="x", shape=(-1, 2)), TensorSpec(name="u", shape=(-1,)))
    request = InferRequest({"x": np.zeros((2, 2), np.float32), "u": np.zeros(3, np.float32)})
    with pytest.raises(CodecError, match="input 'u': expected batch 2, as of the input before, got 3"):
        decode_request(encode_request(request)[0], None, two, OUTPUTS)


def test_binary_data_must_be_used_up_and_inside_the_body() -> None:
    entry = tensor(parameters={"binary_data_size": 8})
    del entry["data"]
    np.testing.assert_array_equal(decode(entry, tail=np.array([3, 4], np.float32).tobytes()).inputs["x"], [[3, 4]])
    with pytest.raises(CodecError, match="4 bytes of binary data belong to no input"):
        decode(entry, tail=bytes(12))
    with pytest.raises(CodecError, match="Inference-Header-Content-Length is 99, but the body has 2 bytes"):
        decode_request(b"{}", 99, INPUTS, OUTPUTS)


def test_outputs_asked_for_decide_what_is_sent_and_how() -> None:
    request = decode(tensor(), outputs=[{"name": "z", "parameters": {"binary_data": True}}, {"name": "y"}])
    outputs = {"y": np.array([[1, 2]], np.float32), "z": np.array([[np.inf]], np.float32)}
    body, length = encode_response(InferResponse("m", outputs, "r0-fp32"), request)
    assert length is not None
    head = json.loads(body[:length])
    assert [entry["name"] for entry in head["outputs"]] == ["z", "y"]
    assert head["outputs"][0]["parameters"] == {"binary_data_size": 4}
    assert head["outputs"][1]["data"] == [1.0, 2.0]
    assert head["parameters"] == {"rung": "r0-fp32"}
    np.testing.assert_array_equal(decode_response(body, length).outputs["z"], outputs["z"])
    with pytest.raises(CodecError, match=r"output 'w': not an output; there is 'y' FP32 \[-1, 2\], 'z'"):
        decode(tensor(), outputs=[{"name": "w"}])
    with pytest.raises(CodecError, match="parameter 'binary_data': expected true or false, got 1"):
        decode(tensor(), outputs=[{"name": "y", "parameters": {"binary_data": 1}}])


def test_the_first_requests_may_come_on_many_threads_at_once() -> None:
    """msgspec crashes the process if threads race to be the first to use a type."""
    code = """
        import sys, threading
        from secateur_agent.inference.v2_codec import decode_request, decode_response
        sys.setswitchinterval(1e-6)
        barrier = threading.Barrier(16)
        def decode():
            barrier.wait()
            decode_request(b'{"inputs": []}', None, (), ())
            decode_response(b'{"model_name": "m", "outputs": []}', None)
        threads = [threading.Thread(target=decode) for _ in range(16)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)]).returncode == 0
