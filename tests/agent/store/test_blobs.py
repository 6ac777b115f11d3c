from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from secateur_agent.protocol.messages import BlobRef
from secateur_agent.store import Store, StoreError


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 12_000])
def test_what_is_added_is_read_back(tmp_path: Path, data: bytes) -> None:
    store = Store(tmp_path / "store")
    assert store.add(data) == digest(data)
    assert store.has(digest(data))
    assert store.read(digest(data)) == data
    assert store.path(digest(data)).read_bytes() == data
    assert Store(tmp_path / "store").has(digest(data))


def test_a_file_is_copied(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"y" * 2_500_000)
    store = Store(tmp_path / "store")
    assert store.add_file(source) == store.add_file(source) == digest(source.read_bytes())
    assert store.read(digest(source.read_bytes())) == source.read_bytes()
    with pytest.raises(StoreError, match=r"cannot read .*absent: No such file"):
        store.add_file(tmp_path / "absent")


def test_a_damaged_blob_is_refused_once_and_then_missing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for check in (store.read, store.verify):
        sha256 = store.add(b"good content")
        store.path(sha256).write_bytes(b"rot")
        with pytest.raises(StoreError, match="damaged on disk; it was removed and has to be fetched again"):
            check(sha256)
        assert not store.has(sha256)


def test_adding_mends_a_damaged_blob(tmp_path: Path) -> None:
    store = Store(tmp_path)
    sha256 = store.add(b"good content")
    store.path(sha256).write_bytes(b"rot")
    store.add(b"good content")
    assert store.read(sha256) == b"good content"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_only_digests_name_blobs(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    for use in (store.path, store.has, store.read, store.part_path):
        with pytest.raises(StoreError, match="64 lower-case hexadecimal digits"):
            use(name)


def test_rungs_lie_below_their_manifest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.model_path("0" * 64, "r0-int8") == tmp_path / "models" / ("0" * 64) / "r0-int8.model"
    with pytest.raises(StoreError, match=r"id '../x'"):
        store.model_path("0" * 64, "../x")


def test_collect_keeps_only_what_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept, old = store.add(b"kept"), store.add(b"old")
    for sha256 in (kept, old):
        store.model_path(sha256, "r0-int8").parent.mkdir()
        store.model_path(sha256, "r0-int8").write_bytes(b"model")
        store.part_path(sha256).write_bytes(b"half")
    (tmp_path / "blobs" / ".interrupted.1-1.tmp").write_bytes(b"")
    assert store.collect({kept}) == 1
    assert store.collect({kept}) == 0
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        f"blobs/{kept}",
        f"models/{kept}/r0-int8.model",
        f"partial/{kept}.part",
    ]


def test_unfinished_downloads_are_known_after_a_restart(tmp_path: Path) -> None:
    ref = BlobRef(sha256="1" * 64, size=10)
    Store(tmp_path).keep_ref(ref)
    assert Store(tmp_path).unfinished() == [ref]
    for damage in (b"", b"\x00" * 50, b'{"sha256":"' + b"2" * 64 + b'","size":10}'):
        (tmp_path / "partial" / f"{ref.sha256}.json").write_bytes(damage)
        assert Store(tmp_path).unfinished() == []
    Store(tmp_path).keep_ref(ref)
    assert Store(tmp_path).unfinished() == [ref]


def test_a_store_below_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError) as caught:
        Store(tmp_path / "file")
    assert "cannot create the folder" in str(caught.value)
    assert "\n" not in str(caught.value)
