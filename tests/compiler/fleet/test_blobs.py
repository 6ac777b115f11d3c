from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.fleet.blobs import BlobError, blob_ref, read_chunk


@given(st.binary(max_size=9000), st.integers(1024, 4096))
def test_every_chunk_of_a_reference_has_its_digest(data: bytes, chunk_bytes: int) -> None:
    ref = blob_ref(data, chunk_bytes)
    assert len(ref.chunk_digests()) == ref.chunk_count
    assert ref.size == len(data)


def test_chunks_put_together_are_the_file(tmp_path: Path) -> None:
    data = bytes(range(256)) * 20
    (tmp_path / "f").write_bytes(data)
    ref = blob_ref(data, 1024)
    assert b"".join(read_chunk(tmp_path / "f", ref, i) for i in range(ref.chunk_count)) == data


def test_an_empty_file_has_one_empty_chunk(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    assert read_chunk(tmp_path / "f", blob_ref(b""), 0) == b""


def test_a_file_that_was_altered_or_is_gone_is_refused(tmp_path: Path) -> None:
    ref = blob_ref(b"a" * 3000, 1024)
    (tmp_path / "f").write_bytes(b"a" * 1024 + b"b" + b"a" * 1975)
    assert read_chunk(tmp_path / "f", ref, 0) == b"a" * 1024
    with pytest.raises(BlobError, match="altered since it was pushed"):
        read_chunk(tmp_path / "f", ref, 1)
    with pytest.raises(BlobError, match="No such file"):
        read_chunk(tmp_path / "g", ref, 0)
    with pytest.raises(BlobError, match="no chunk 3; it has 3"):
        read_chunk(tmp_path / "f", ref, 3)


@pytest.mark.parametrize("chunk_bytes", [0, 1023, (1 << 20) + 1])
def test_a_chunk_size_out_of_range_is_refused(chunk_bytes: int) -> None:
    with pytest.raises(BlobError, match="chunk size"):
        blob_ref(b"x", chunk_bytes)
