"""Inference requests and responses of the Open Inference Protocol v2, pure: bytes to arrays and back.

Both forms: JSON, and the binary tensor data extension, where raw little-endian tensors follow the JSON and the header
``Inference-Header-Content-Length`` says where the JSON ends.
https://github.com/kserve/open-inference-protocol, https://github.com/triton-inference-server/server (protocol extensions)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from secateur_agent.bundle.manifest import TensorSpec

HEADER_LENGTH = "Inference-Header-Content-Length"
DEFAULT_MAX_BATCH = 64
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    **{f"UINT{8 * n}": np.dtype(f"<u{n}") for n in (1, 2, 4, 8)},
    **{f"INT{8 * n}": np.dtype(f"<i{n}") for n in (1, 2, 4, 8)},
    **{f"FP{8 * n}": np.dtype(f"<f{n}") for n in (2, 4, 8)},
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
# JSON numbers are shorter than this, so that text which a shape does not account for is refused before it is parsed.
_MAX_JSON_BYTES_PER_VALUE = 64
_UNSUPPORTED = ("shared_memory_region", "classification")


class CodecError(ValueError):
    """A request or response does not meet the protocol, or does not fit the network."""


@dataclass(frozen=True)
class InferRequest:
    """A decoded request. ``outputs`` maps each output asked for to whether it should be binary; empty means all, in
    the form that ``binary`` says."""

    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, bool] = field(default_factory=dict)
    binary: bool = False
    id: str = ""


@dataclass(frozen=True)
class InferResponse:
    """A response: ``rung`` is the one that computed it."""

    model_name: str
    outputs: dict[str, NDArray[Any]]
    rung: str = ""
    id: str = ""


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: Annotated[list[Annotated[int, Meta(ge=0, le=2**40)]], Meta(max_length=16)]
    parameters: dict[str, Any] = {}
    data: msgspec.Raw = msgspec.Raw(b"")


class _Requested(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Request(msgspec.Struct):
    inputs: Annotated[list[_Tensor], Meta(max_length=256)]
    outputs: Annotated[list[_Requested], Meta(max_length=256)] = []
    parameters: dict[str, Any] = {}
    id: str = ""


class _Response(msgspec.Struct):
    model_name: str
    outputs: list[_Tensor]
    parameters: dict[str, Any] = {}
    id: str = ""


# Made once, here: msgspec inspects a Struct at its first use, and crashes when two threads do so at once.
_REQUESTS = msgspec.json.Decoder(_Request)
_RESPONSES = msgspec.json.Decoder(_Response)
_VALUES = msgspec.json.Decoder(list[Any])


def decode_request(
    body: bytes,
    header_length: int | None,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    max_batch: int = DEFAULT_MAX_BATCH,
) -> InferRequest:
    """Decode a request and check it against the network.

    Args:
        body: the body as received.
        header_length: where its JSON ends; None if it is all JSON.
        inputs: the network's inputs.
        outputs: the network's outputs.
        max_batch: largest batch, where a shape has −1.

    Raises:
        CodecError: one line that names the tensor, what was expected and what came.
    """
    request, tail = _split(body, header_length, _REQUESTS, "request")
    _check_inputs(request.inputs, inputs, max_batch)
    wanted: dict[str, bool] = {}
    binary = _flag(request.parameters, "binary_data_output", False)
    for output in request.outputs:
        if output.name not in {spec.name for spec in outputs}:
            raise CodecError(f"output {output.name!r}: not an output; there is {_listed(outputs)}")
        _refuse_unsupported(f"output {output.name!r}", output.parameters)
        wanted[output.name] = _flag(output.parameters, "binary_data", binary)
    return InferRequest(_arrays("input", request.inputs, tail), wanted, binary, request.id)


def encode_request(request: InferRequest, binary_inputs: bool = False) -> tuple[bytes, int | None]:
    """Encode a request; return the body and where its JSON ends (None if it is all JSON)."""
    head: dict[str, Any] = {"id": request.id} if request.id else {}
    if request.binary:
        head["parameters"] = {"binary_data_output": True}
    if request.outputs:
        head["outputs"] = [{"name": n, "parameters": {"binary_data": b}} for n, b in request.outputs.items()]
    return _join(head, "inputs", request.inputs, dict.fromkeys(request.inputs, binary_inputs))


def encode_response(response: InferResponse, request: InferRequest) -> tuple[bytes, int | None]:
    """Encode the response to ``request``, with the outputs it asks for in the form it asks for.

    In JSON, values that are not finite become null, for JSON cannot write them.

    Returns:
        The body, and where its JSON ends (None if it is all JSON).
    """
    forms = request.outputs or dict.fromkeys(response.outputs, request.binary)
    head: dict[str, Any] = {"model_name": response.model_name, "model_version": "1"}
    if response.id:
        head["id"] = response.id
    head["parameters"] = {"rung": response.rung}
    return _join(head, "outputs", {name: response.outputs[name] for name in forms}, forms)


def decode_response(body: bytes, header_length: int | None) -> InferResponse:
    """Decode a response.

    Raises:
        CodecError: if it does not meet the protocol.
    """
    response, tail = _split(body, header_length, _RESPONSES, "response")
    rung = response.parameters.get("rung", "")
    outputs = _arrays("output", response.outputs, tail)
    return InferResponse(response.model_name, outputs, rung if isinstance(rung, str) else "", response.id)


M = TypeVar("M")


def _split(body: bytes, header_length: int | None, decoder: msgspec.json.Decoder[M], what: str) -> tuple[M, memoryview]:
    end = len(body) if header_length is None else header_length
    if not 0 <= end <= len(body):
        raise CodecError(f"{what}: {HEADER_LENGTH} is {end}, but the body has {len(body)} bytes")
    view = memoryview(body)
    try:
        return decoder.decode(view[:end]), view[end:]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"{what}: {error}") from None


def _join(
    head: dict[str, Any], key: str, tensors: Mapping[str, NDArray[Any]], binary: Mapping[str, bool]
) -> tuple[bytes, int | None]:
    entries: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for name, array in tensors.items():
        dtype = array.dtype.newbyteorder("<")
        if dtype not in NAMES:
            raise CodecError(f"tensor {name!r}: type {array.dtype} is not one of {', '.join(DTYPES)}")
        entry: dict[str, Any] = {"name": name, "datatype": NAMES[dtype], "shape": list(array.shape)}
        if binary[name]:
            tail.append(array.astype(dtype, copy=False).tobytes())
            entry["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            entry["data"] = array.ravel().tolist()
        entries.append(entry)
    text = msgspec.json.encode({**head, key: entries})
    return (b"".join([text, *tail]), len(text)) if tail else (text, None)


def _check_inputs(tensors: Sequence[_Tensor], specs: Sequence[TensorSpec], max_batch: int) -> None:
    expected = {spec.name: spec for spec in specs}
    batch: int | None = None
    for tensor in tensors:
        spec = expected.pop(tensor.name, None)
        if spec is None:
            known = tensor.name in {spec.name for spec in specs}
            raise CodecError(f"input {tensor.name!r}: " + ("given twice" if known else f"not an input; {_listed(specs)}"))
        fits = len(tensor.shape) == len(spec.shape) and all(
            1 <= got <= max_batch if size == -1 else got == size for size, got in zip(spec.shape, tensor.shape)
        )
        if not fits or tensor.datatype != spec.datatype:
            rows = f" (batch 1 to {max_batch})" if -1 in spec.shape else ""
            datatype = tensor.datatype if tensor.datatype in DTYPES else repr(tensor.datatype[:32])
            raise CodecError(
                f"input {tensor.name!r}: expected {spec.datatype} {list(spec.shape)}{rows}, got {datatype} {tensor.shape}"
            )
        for size, got in zip(spec.shape, tensor.shape):
            if size == -1 and got != (batch := batch or got):
                raise CodecError(f"input {tensor.name!r}: expected batch {batch}, as of the input before, got {got}")
    if expected:
        raise CodecError(f"input {next(iter(expected))!r}: missing; expected {_listed(specs)}")


def _arrays(what: str, tensors: Sequence[_Tensor], tail: memoryview) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    offset = 0
    for tensor in tensors:
        where = f"{what} {tensor.name!r}"
        dtype = DTYPES.get(tensor.datatype)
        if dtype is None:
            raise CodecError(f"{where}: datatype {tensor.datatype[:32]!r} is not one of {', '.join(DTYPES)}")
        _refuse_unsupported(where, tensor.parameters)
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            array = _from_json(where, tensor, dtype)
        else:
            expected = math.prod(tensor.shape) * dtype.itemsize
            if type(size) is not int or size != expected:
                raise CodecError(f"{where}: expected binary_data_size {expected} for {tensor.shape}, got {size!r}"[:300])
            if offset + size > len(tail):
                raise CodecError(f"{where}: expected {size} bytes of binary data, got {len(tail) - offset}")
            # A copy: the tensor may begin at any byte of the body, and a runtime expects aligned memory.
            array = np.frombuffer(tail[offset : offset + size], dtype).reshape(tensor.shape).copy()
            offset += size
        arrays[tensor.name] = array
    if offset != len(tail):
        raise CodecError(f"{len(tail) - offset} bytes of binary data belong to no {what}")
    return arrays


def _from_json(where: str, tensor: _Tensor, dtype: np.dtype[Any]) -> NDArray[Any]:
    count = math.prod(tensor.shape)
    text = bytes(tensor.data)
    if not text:
        raise CodecError(f"{where}: has neither data nor binary_data_size")
    if len(text) > _MAX_JSON_BYTES_PER_VALUE * (count + 16):
        raise CodecError(f"{where}: expected {count} values for {tensor.shape}, got {len(text)} bytes of JSON")
    try:
        values = _numbers(_VALUES.decode(text), dtype)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        raise CodecError(f"{where}: data is not a list of numbers, flat or nested evenly") from None
    if values.size == 0 and count == 0:
        return np.zeros(tensor.shape, dtype)
    if values.dtype.kind not in ("b" if dtype.kind == "b" else "iu" if dtype.kind in "iu" else "iuf"):
        raise CodecError(f"{where}: expected {tensor.datatype} values, got {_kind(values)}")
    if values.size != count:
        raise CodecError(f"{where}: expected {count} values for {tensor.shape}, got {values.size}")
    with np.errstate(over="ignore"):
        array: NDArray[Any] = values.astype(dtype).reshape(tensor.shape)
    lossless = np.isfinite(array).all() if dtype.kind == "f" else (array.ravel() == values.ravel()).all()
    if not lossless:
        raise CodecError(f"{where}: a value is outside the range of {tensor.datatype}")
    return array


def _numbers(data: list[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    values = np.asarray(data)
    if dtype == DTYPES["UINT64"] and values.dtype.kind == "f":
        # numpy makes fractions of integers when one of them needs all 64 bits.
        exact = np.asarray(data, object)
        if all(type(value) is int for value in exact.flat):
            return exact.astype(dtype)
    return values


def _kind(values: NDArray[Any]) -> str:
    return {"b": "booleans", "i": "integers", "u": "integers", "f": "fractions", "U": "text"}.get(
        values.dtype.kind, "something else"
    )


def _flag(parameters: Mapping[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise CodecError(f"parameter {name!r}: expected true or false, got {value!r}"[:300])
    return value


def _refuse_unsupported(where: str, parameters: Mapping[str, Any]) -> None:
    for name in _UNSUPPORTED:
        if parameters.get(name):
            raise CodecError(f"{where}: parameter {name!r} is not supported here")


def _listed(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name!r} {spec.datatype} {list(spec.shape)}" for spec in specs)
