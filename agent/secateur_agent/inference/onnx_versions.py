"""Which versions of ONNX a model file needs, read from its first level alone: no onnx is installed on a device."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple

# Fields of ModelProto and OperatorSetIdProto (onnx/onnx.proto), and protobuf's wire types.
_IR_VERSION, _OPSET_IMPORT, _DOMAIN, _VERSION = 1, 8, 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_OPSET_BYTES = 4096


class OnnxVersions(NamedTuple):
    """Of the file format (``ir``) and of the standard operators (``opset``); 0 if the file does not say."""

    ir: int
    opset: int


def onnx_versions(path: Path) -> OnnxVersions | None:
    """Read the versions of a model file.

    Returns:
        The versions, or None if the file cannot be read or is no ONNX model.
    """
    ir = opset = 0
    try:
        with path.open("rb") as file:
            while (tag := _varint(file)) is not None:
                number, kind = tag >> 3, tag & 7
                if number == _OPSET_IMPORT and kind == _BYTES:
                    opset = max(opset, _standard_opset(file))
                    continue
                value = _skip(file, kind)
                if number == _IR_VERSION and kind == _VARINT:
                    ir = value
    except (OSError, ValueError):
        return None
    return OnnxVersions(ir, opset)


def _standard_opset(file: BinaryIO) -> int:
    """The version in an OperatorSetIdProto, 0 if it is of another domain than the standard one."""
    length = _varint(file)
    if length is None or length > _MAX_OPSET_BYTES:
        raise ValueError("an opset import that is none")
    end, version, domain = file.tell() + length, 0, b""
    while file.tell() < end:
        tag = _varint(file) or 0
        if tag >> 3 == _DOMAIN and tag & 7 == _BYTES:
            domain = file.read(min(_varint(file) or 0, _MAX_OPSET_BYTES))
        else:
            value = _skip(file, tag & 7)
            version = value if tag >> 3 == _VERSION else version
    return version if domain in (b"", b"ai.onnx") else 0


def _skip(file: BinaryIO, kind: int) -> int:
    """Pass over a field's value; return it if it is a number of variable length, else 0."""
    if kind == _VARINT:
        value = _varint(file)
        if value is None:
            raise ValueError("the file ends within a field")
        return value
    if kind not in (_FIXED64, _FIXED32, _BYTES):
        raise ValueError("not protobuf")
    length = 8 if kind == _FIXED64 else 4 if kind == _FIXED32 else _varint(file)
    if length is None:
        raise ValueError("the file ends within a field")
    file.seek(length, 1)
    return 0


def _varint(file: BinaryIO) -> int | None:
    """Read a base-128 number; None at the end of the file."""
    value = shift = 0
    while byte := file.read(1):
        value |= (byte[0] & 0x7F) << shift
        shift += 7
        if not byte[0] & 0x80:
            return value
        if shift > 63:
            raise ValueError("not protobuf")
    if shift:
        raise ValueError("the file ends within a number")
    return None
