"""The base: safetensors files, read with numpy alone."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save, save_file

from secateur_agent.bundle.base import read_base
from secateur_agent.bundle.manifest import BundleError

TENSORS: dict[str, NDArray[Any]] = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(-4, 4, dtype=np.int8)}
ENCODED = save(TENSORS, {"made": "here"})


def written(folder: Path, header: Any, body: bytes = b"") -> Path:
    """A file with this header, whatever it is."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "base.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def test_reads_what_the_safetensors_library_writes(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "base.safetensors", {"made": "here"})
    found = read_base(tmp_path / "base.safetensors")
    assert set(found) == {"a", "b"}
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        np.testing.assert_array_equal(found[name], tensor)


def test_tensors_cannot_be_written_to(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "base.safetensors")
    with pytest.raises(ValueError, match="read-only"):
        read_base(tmp_path / "base.safetensors")["a"][0, 0] = 1


def test_a_missing_file_and_an_empty_one_are_named(tmp_path: Path) -> None:
    for data in (None, b"", b"1234567"):
        if data is not None:
            (tmp_path / "base.safetensors").write_bytes(data)
        with pytest.raises(BundleError, match=r"base base\.safetensors"):
            read_base(tmp_path / "base.safetensors")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2, -1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [0, 1 << 40, 1 << 40], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [1] * 70, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2]},
        [],
    ],
    ids=str,
)
def test_an_entry_that_the_file_cannot_hold_is_refused(tmp_path: Path, entry: Any) -> None:
    with pytest.raises(BundleError, match=r"base\.safetensors"):
        read_base(written(tmp_path, {"a": entry}, b"\0" * 8))


@pytest.mark.parametrize("header", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 50_000])
def test_a_header_that_is_no_object_is_refused(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(BundleError, match="malformed header"):
        read_base(written(tmp_path, header))


@given(length=st.integers(0, len(ENCODED) - 1))
def test_a_base_cut_short_is_refused(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    path.write_bytes(ENCODED[:length])
    with pytest.raises(BundleError):
        read_base(path)


@given(data=st.binary(max_size=200), known_length=st.booleans())
def test_random_bytes_give_a_bundle_error_or_no_tensors(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, known_length: bool
) -> None:
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    path.write_bytes(len(data).to_bytes(8, "little") + data if known_length else data)
    with contextlib.suppress(BundleError):
        assert read_base(path) == {}  # such as the header "{}"


@given(bit=st.integers(0, len(ENCODED) * 8 - 1))
def test_a_flipped_bit_gives_arrays_or_a_bundle_error(tmp_path_factory: pytest.TempPathFactory, bit: int) -> None:
    altered = bytearray(ENCODED)
    altered[bit // 8] ^= 1 << bit % 8
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    path.write_bytes(bytes(altered))
    with contextlib.suppress(BundleError):
        for tensor in read_base(path).values():
            assert tensor.nbytes <= len(ENCODED)
            tensor.tobytes()
