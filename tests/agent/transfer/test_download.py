from __future__ import annotations

import base64
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur_agent.protocol.messages import BlobRef, MessageError, encode
from secateur_agent.store import Store, StoreError
from secateur_agent.transfer import ChunkError, DamagedPartError, Download

CHUNK_BYTES = 1024


def make_blob(data: bytes) -> tuple[BlobRef, list[bytes]]:
    """What a host signs for ``data``, and its chunks."""
    chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)] or [b""]
    digests = b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)
    listed = base64.b64encode(digests).decode() if len(chunks) > 1 else ""
    return BlobRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data), chunk_bytes=CHUNK_BYTES, chunks=listed), chunks


def complete(download: Download, chunks: list[bytes]) -> None:
    for index in download.missing(len(chunks)):
        assert download.offer(index, chunks[index])
    download.finish()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


# The same in every process that collects: parts of it are in the names of tests.
DATA = random.Random(1).randbytes(5 * CHUNK_BYTES + 17)


def test_chunks_in_any_order_become_the_blob(store: Store) -> None:
    ref, chunks = make_blob(DATA)
    download = Download(ref, store)
    for index in (5, 0, 3, 1, 4):
        assert download.offer(index, chunks[index])
        assert not download.offer(index, chunks[index])
    assert (download.have, download.total, download.complete) == (5, 6, False)
    assert download.missing(10) == [2]
    with pytest.raises(StoreError, match="1 of 6 chunks are missing"):
        download.finish()
    complete(download, chunks)
    assert download.complete
    assert store.read(ref.sha256) == DATA
    assert list((store.root / "partial").iterdir()) == []
    download.finish()


def test_an_empty_blob_needs_no_chunk_from_the_network(store: Store) -> None:
    ref, _ = make_blob(b"")
    download = Download(ref, store)
    assert download.complete
    download.finish()
    assert store.read(ref.sha256) == b""


@pytest.mark.parametrize(
    ("index", "data"), [(0, b""), (0, DATA[1 : CHUNK_BYTES + 1]), (5, DATA[-17:] + b"x"), (6, b""), (-1, b"")]
)
def test_a_corrupt_chunk_is_refused_in_one_line_and_never_written(store: Store, index: int, data: bytes) -> None:
    ref, _ = make_blob(DATA)
    download = Download(ref, store)
    with pytest.raises(ChunkError, match=f"chunk {index} refused") as caught:
        download.offer(index, data)
    assert "\n" not in str(caught.value)
    assert not store.part_path(ref.sha256).exists()


def test_a_chunk_list_that_does_not_fit_the_size_is_refused(store: Store) -> None:
    ref, _ = make_blob(DATA)
    with pytest.raises(MessageError, match="6 chunks but 1 digests"):
        Download(BlobRef(sha256=ref.sha256, size=ref.size, chunk_bytes=CHUNK_BYTES, chunks=ref.chunks[:43] + "="), store)


def test_a_chunk_list_of_another_file_never_becomes_a_blob(store: Store) -> None:
    ref, chunks = make_blob(DATA)
    lie = BlobRef(sha256="0" * 64, size=ref.size, chunk_bytes=CHUNK_BYTES, chunks=ref.chunks)
    download = Download(lie, store)
    with pytest.raises(StoreError, match="its chunk list is that of another file"):
        complete(download, chunks)
    assert not store.has(lie.sha256)


def test_a_restart_verifies_again_and_continues(store: Store) -> None:
    ref, chunks = make_blob(DATA)
    first = Download(ref, store)
    for index in (1, 3, 5):
        first.offer(index, chunks[index])
    with store.part_path(ref.sha256).open("r+b") as part:
        part.seek(3 * CHUNK_BYTES + 5)
        part.write(b"power cut")
    second = Download(ref, store)
    assert second.missing(9) == [0, 2, 3, 4]
    complete(second, chunks)
    assert store.read(ref.sha256) == DATA


def test_another_chunk_size_continues_the_same_file(store: Store) -> None:
    ref, chunks = make_blob(DATA)
    first = Download(ref, store)
    first.offer(0, chunks[0])
    first.offer(1, chunks[1])
    halves = [DATA[: 2 * CHUNK_BYTES], DATA[2 * CHUNK_BYTES : 4 * CHUNK_BYTES], DATA[4 * CHUNK_BYTES :]]
    listed = base64.b64encode(b"".join(hashlib.sha256(half).digest() for half in halves)).decode()
    second = Download(BlobRef(sha256=ref.sha256, size=ref.size, chunk_bytes=2 * CHUNK_BYTES, chunks=listed), store)
    assert second.missing(9) == [1, 2]


def test_two_downloads_of_one_digest_are_the_same(store: Store) -> None:
    ref, chunks = make_blob(DATA)
    one, other = Download(ref, store), Download(ref, store)
    for index in range(6):
        (one if index % 2 else other).offer(index, chunks[index])
    complete(one, chunks)
    assert other.complete
    assert other.have == 6
    assert other.missing(9) == []
    assert not other.offer(0, chunks[0])
    other.finish()
    assert Download(ref, store).complete
    assert list((store.root / "partial").iterdir()) == []
    assert store.read(ref.sha256) == DATA


def test_chunks_damaged_after_they_were_verified_are_fetched_again(store: Store) -> None:
    ref, chunks = make_blob(DATA)
    download = Download(ref, store)
    for index, chunk in enumerate(chunks):
        download.offer(index, chunk)
    os.truncate(store.part_path(ref.sha256), 2 * CHUNK_BYTES)
    with pytest.raises(DamagedPartError, match="4 chunks were damaged on disk; they are fetched again"):
        download.finish()
    assert download.missing(9) == [2, 3, 4, 5]
    complete(download, chunks)
    assert store.read(ref.sha256) == DATA


def test_a_blob_larger_than_the_disk_is_refused_before_anything_is_fetched(store: Store) -> None:
    size = 1 << 33
    chunks = base64.b64encode(bytes(32 * (size >> 20))).decode()
    ref = BlobRef(sha256="3" * 64, size=size, chunk_bytes=1 << 20, chunks=chunks)
    if os.statvfs(store.root).f_bavail * os.statvfs(store.root).f_frsize > size:
        disk = store.root / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], capture_output=True).returncode:
            pytest.skip("may not mount a small disk here")
        try:
            with pytest.raises(StoreError, match=r"the download needs 8,589,934,592 bytes more .* free some space"):
                Download(ref, Store(disk))
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    else:
        with pytest.raises(StoreError, match="the download needs 8,589,934,592 bytes more"):
            Download(ref, store)


def test_a_disk_that_fills_up_loses_nothing(tmp_path: Path) -> None:
    """Chunks that were written stay; the one that did not fit can be offered again when there is room."""
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from secateur_agent.protocol.messages import BlobRef, decode\n"
        "from secateur_agent.store import Store, StoreError\n"
        "from secateur_agent.transfer import Download\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "ref = decode(sys.argv[2].encode(), BlobRef)\n"
        "data = Path(sys.argv[3]).read_bytes()\n"
        "download = Download(ref, Store(Path(sys.argv[1])))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2500, resource.RLIM_INFINITY))\n"
        "for index in range(download.total):\n"
        "    try:\n"
        "        download.offer(index, data[index * 1024:][:1024])\n"
        "    except StoreError as error:\n"
        "        print(error)\n"
        "        break\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "print(download.missing(9))\n"
        "for index in download.missing(9):\n"
        "    download.offer(index, data[index * 1024:][:1024])\n"
        "download.finish()\n"
    )
    ref, _ = make_blob(DATA)
    (tmp_path / "data").write_bytes(DATA)
    arguments = [str(tmp_path / "store"), encode(ref).decode(), str(tmp_path / "data")]
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    lines = result.stdout.splitlines()
    assert lines[0].startswith("cannot write ")
    assert lines[0].endswith("File too large")
    assert lines[1:] == ["[2, 3, 4, 5]"]
    assert Store(tmp_path / "store").read(ref.sha256) == DATA


def test_sigkill_at_any_instant_keeps_the_progress(tmp_path: Path) -> None:
    """Progress was lost by an OOM kill elsewhere (balena-supervisor#1575)."""
    data = os.urandom(400 * CHUNK_BYTES)
    ref, chunks = make_blob(data)
    (tmp_path / "data").write_bytes(data)
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from secateur_agent.store import Store\n"
        "from secateur_agent.transfer import Download\n"
        "store = Store(Path(sys.argv[1]))\n"
        "data = Path(sys.argv[2]).read_bytes()\n"
        "download = Download(store.unfinished()[0], store)\n"
        "print(download.have, flush=True)\n"
        "for index in download.missing(400):\n"
        "    download.offer(index, data[index * 1024:][:1024])\n"
        "    print(index, flush=True)\n"
    )
    Download(ref, Store(tmp_path / "store"))
    before = 0
    for written in (1, 50, 120):
        command = [sys.executable, "-c", script, str(tmp_path / "store"), str(tmp_path / "data")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert int(process.stdout.readline()) >= before
        for _ in range(written):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        before += written
    download = Download(ref, Store(tmp_path / "store"))
    assert download.have >= before
    complete(download, chunks)
    assert Store(tmp_path / "store").read(ref.sha256) == data


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(max_size=6 * CHUNK_BYTES),
    steps=st.lists(st.tuples(st.sampled_from(["offer", "corrupt", "swap", "restart"]), st.integers(-1, 8)), max_size=40),
    order=st.randoms(use_true_random=False),
)
def test_any_order_of_chunks_duplicates_and_corruptions_ends_with_the_exact_file(
    data: bytes, steps: list[tuple[str, int]], order: object
) -> None:
    ref, chunks = make_blob(data)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        download = Download(ref, store)
        known = set() if data else {0}
        for step, index in steps:
            if step == "restart":
                download = Download(ref, store)
                assert set(download.missing(99)) == set(range(len(chunks))) - known
                continue
            if not 0 <= index < len(chunks):
                with pytest.raises(ChunkError):
                    download.offer(index, b"")
                continue
            wrong = chunks[index] + b"!" if step == "corrupt" else chunks[index - 1]
            if step != "offer" and wrong != chunks[index] and index not in known:
                with pytest.raises(ChunkError):
                    download.offer(index, wrong)
                continue
            assert download.offer(index, chunks[index]) == (index not in known)
            known.add(index)
        rest = download.missing(99)
        order.shuffle(rest)  # type: ignore[attr-defined]
        for index in rest:
            download.offer(index, chunks[index])
        download.finish()
        assert store.read(ref.sha256) == data


@settings(max_examples=80, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=4 * CHUNK_BYTES),
    given_before=st.sets(st.integers(0, 3)),
    part=st.none() | st.binary(max_size=5 * CHUNK_BYTES),
    patch=st.tuples(st.integers(0, 5 * CHUNK_BYTES), st.binary(max_size=50)),
    journal=st.none() | st.binary(max_size=300),
)
def test_damage_on_disk_is_only_fetched_again(
    data: bytes, given_before: set[int], part: bytes | None, patch: tuple[int, bytes], journal: bytes | None
) -> None:
    """Random damage to the part and to the note beside it raises nothing and never yields a wrong file."""
    ref, chunks = make_blob(data)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        download = Download(ref, store)
        for index in given_before & set(range(len(chunks))):
            download.offer(index, chunks[index])
        if part is not None:
            store.part_path(ref.sha256).write_bytes(part)
        elif store.part_path(ref.sha256).exists():
            with store.part_path(ref.sha256).open("r+b") as file:
                file.seek(patch[0])
                file.write(patch[1])
        if journal is not None:
            store.part_path(ref.sha256).with_suffix(".json").write_bytes(journal)
        store.unfinished()
        after = Download(ref, store)
        complete(after, chunks)
        assert store.read(ref.sha256) == data


def test_a_folder_in_the_place_of_the_part_is_one_line(store: Store) -> None:
    ref, _ = make_blob(DATA)
    store.part_path(ref.sha256).mkdir()
    with pytest.raises(StoreError, match="Is a directory"):
        Download(ref, store)
