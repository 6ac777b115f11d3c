"""Reads a base: the safetensors file of the shared weights, memory-mapped, with numpy alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from secateur_agent.bundle.manifest import BundleError

_DTYPES: dict[str, np.dtype[Any]] = {"I8": np.dtype("<i1"), "F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
_MAX_HEADER_BYTES = 16 << 20


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def read_base(path: Path) -> dict[str, NDArray[np.generic]]:
    """Map the tensors of a base into memory.

    Args:
        path: a safetensors file with int8, float16 and float32 tensors.

    Returns:
        Name → read-only array, (out, in, kernel…).

    Raises:
        BundleError: if the file is cut short, malformed, or has another element type.
    """
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:
        raise BundleError(f"base {path.name}: cannot be read: {error}") from None
    if data.size < 8:
        raise BundleError(f"base {path.name}: {data.size} bytes, too short for a safetensors file")
    header_bytes = int.from_bytes(bytes(data[:8]), "little")
    if header_bytes > min(_MAX_HEADER_BYTES, data.size - 8):
        raise BundleError(f"base {path.name}: its header claims {header_bytes} bytes; cut short or altered?")
    try:
        header = msgspec.json.decode(bytes(data[8 : 8 + header_bytes]), type=dict[str, msgspec.Raw])
        header.pop("__metadata__", None)
        entries = {name: msgspec.json.decode(raw, type=_Entry) for name, raw in header.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"base {path.name}: malformed header: {error}") from None
    body = data[8 + header_bytes :]
    return {name: _tensor(path.name, name, entry, body) for name, entry in entries.items()}


def _tensor(file: str, name: str, entry: _Entry, body: NDArray[np.uint8]) -> NDArray[np.generic]:
    dtype = _DTYPES.get(entry.dtype)
    if dtype is None:
        raise BundleError(f"base {file}: tensor {name}: type {entry.dtype!r} is not one of {', '.join(_DTYPES)}")
    start, stop = entry.data_offsets
    count = 1
    for size in entry.shape:
        if size < 0 or size > 1 << 40:
            raise BundleError(f"base {file}: tensor {name}: impossible shape {entry.shape}")
        count *= size
    if not 0 <= start <= stop <= body.size or stop - start != count * dtype.itemsize:
        raise BundleError(f"base {file}: tensor {name}: its bytes [{start}, {stop}) do not hold shape {entry.shape}")
    try:
        tensor: NDArray[np.generic] = body[start:stop].view(np.ndarray).view(dtype).reshape(entry.shape)
    except ValueError:  # numpy limits the number of axes, and their product even where one of them is 0
        raise BundleError(f"base {file}: tensor {name}: impossible shape {entry.shape}") from None
    return tensor
