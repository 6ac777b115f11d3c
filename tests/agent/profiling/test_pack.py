"""Packs come back as they were made; what is no pack is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur_agent.bundle.manifest import TensorSpec
from secateur_agent.profiling.pack import MAGIC, Pack, PackError, PackHeader, encode_pack, packed_file

X, Y = TensorSpec(name="x", shape=(-1, 4)), TensorSpec(name="y", shape=(-1, 2))


def header_of(files: list[bytes]) -> PackHeader:
    return PackHeader(
        measurement="m-1",
        runtime="onnxruntime",
        precision="fp32",
        files=tuple(packed_file(each, [X], [Y]) for each in files),
    )


def written(folder: Path, data: bytes) -> Path:
    path = folder / "pack"
    path.write_bytes(data)
    return path


def complaint(path: Path) -> str:
    try:
        pack = Pack(path)
        for index in range(len(pack.header.files)):
            pack.read(index)
    except PackError as error:
        return str(error)
    return ""


@settings(max_examples=30, deadline=None)
@given(files=st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=5))
def test_files_come_back(tmp_path_factory: pytest.TempPathFactory, files: list[bytes]) -> None:
    pack = Pack(written(tmp_path_factory.mktemp("pack"), encode_pack(header_of(files), files)))
    assert pack.header == header_of(files)
    assert [pack.read(index) for index in range(len(files))] == files


@settings(max_examples=100, deadline=None)
@given(data=st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda rest: MAGIC + rest)), at=st.integers(0))
def test_whatever_comes_is_a_pack_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int) -> None:
    good = encode_pack(header_of([b"one", b"two"]), [b"one", b"two"])
    cut = at % len(good)
    for damaged in (data, good[:cut], good + data[:1], good[:cut] + bytes([good[cut] ^ 1]) + good[cut + 1 :]):
        assert len(complaint(written(tmp_path_factory.mktemp("pack"), damaged)).splitlines()) <= 1


def test_a_file_that_is_not_there_or_is_altered_is_refused(tmp_path: Path) -> None:
    data = encode_pack(header_of([b"one", b"two"]), [b"one", b"two"])
    with pytest.raises(PackError, match="no file 2"):
        Pack(written(tmp_path, data)).read(2)
    with pytest.raises(PackError, match="file 1 is altered"):
        Pack(written(tmp_path, data[:-1] + b"?")).read(1)
    with pytest.raises(PackError, match="No such file"):
        Pack(tmp_path / "missing")
