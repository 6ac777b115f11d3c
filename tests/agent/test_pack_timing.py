"""A pack on a device: fetched on demand, timed in batches by real helpers, and gone on with after whatever ended it."""

from __future__ import annotations

import base64
import hashlib
import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from secateur.bundle.keys import create_keys
from secateur_agent import pack_timing
from secateur_agent.downloads import Downloads
from secateur_agent.helper_processes import HelperEnded, HelperRunner
from secateur_agent.install.workplace import Workplace
from secateur_agent.kept_timings import KeptTimings
from secateur_agent.measurements import Measurements
from secateur_agent.pack_timing import PackTiming
from secateur_agent.profiling.pack import PackHeader, encode_pack, packed_file
from secateur_agent.protocol.messages import AskChunks, BlobRef
from secateur_agent.protocol.timings import PackTimings
from secateur_agent.store import Store
from secateur_profiles import load

CHUNK_BYTES = 4096


class Device:
    """One device's part in a measurement; ``start`` begins anew on the same disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = create_keys(folder / "keys")
        (folder / "state").mkdir()
        self.asked: list[AskChunks] = []
        self.pieces: list[PackTimings] = []
        self.ended: list[tuple[str, str, PackTimings | None]] = []
        self.start()

    def start(self) -> None:
        self.inbox: queue.Queue[HelperEnded] = queue.Queue()
        self.helpers = HelperRunner(self.inbox.put)
        self.store = Store(self.folder / "state" / "store")
        self.downloads = Downloads(self.store, lambda names: None, lambda names: None, self.asked.append)
        self.faults: list[str] = []
        self.place = Workplace(
            store=self.store,
            state_path=self.folder / "state",
            trust_root=self.keys.root,
            trust_root_path=self.keys.root_path,
            profile=load("linux-x86-64"),
            downloads=self.downloads,
            helpers=self.helpers,
            measurements=Measurements(self.folder / "state" / "measurements.json"),
            announce=lambda kind, text, evidence=None: self.faults.append(text),
            changed=lambda: None,
        )

    def begin(self, ref: BlobRef) -> PackTiming:
        kept = KeptTimings(self.folder / "state" / "timings.json")
        timing = PackTiming(self.place, kept, ref, self.pieces.append, lambda *how: self.ended.append(how))
        timing.poll()
        return timing

    def deliver(self, timing: PackTiming, data: bytes) -> None:
        """Answer what is asked for until the pack is here."""
        now_s = 0.0
        while self.downloads.owner == pack_timing.OWNER:
            now_s += 1.0
            self.downloads.ask_missing(now_s)
            for ask in self.asked:
                for index in ask.indexes:
                    self.downloads.on_chunk(ask.sha256, index, data[index * CHUNK_BYTES :][:CHUNK_BYTES], now_s)
            self.asked.clear()
            timing.poll()

    def drive(self, timing: PackTiming, until: Callable[[], object] = lambda: False) -> None:
        """Take what helpers return until the pack is done, or ``until``."""
        while not self.ended and not until():
            ended = self.inbox.get(timeout=60)
            self.helpers.ended(ended)
            assert timing.take(ended)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    made = Device(tmp_path)
    yield made
    made.helpers.stop()


def pack(tiny_rungs: Any, **changes: Any) -> tuple[BlobRef, bytes]:
    loads = [tiny_rungs.make(f"r{n}-fp32", layers=n, features=8) for n in range(1, 6)]
    files = [Path(load.path).read_bytes() for load in loads]
    described = tuple(packed_file(data, load.inputs, load.outputs) for data, load in zip(files, loads))
    fields = {"measurement": "m-1", "runtime": "onnxruntime", "precision": "fp32", "rounds": 2, "round_ms": 0.1}
    data = encode_pack(PackHeader(**{**fields, "files": described, **changes}), files)
    pieces = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
    listed = base64.b64encode(b"".join(hashlib.sha256(piece).digest() for piece in pieces)).decode()
    chunks = listed if len(pieces) > 1 else ""
    sha256 = hashlib.sha256(data).hexdigest()
    return BlobRef(sha256=sha256, size=len(data), chunk_bytes=CHUNK_BYTES, chunks=chunks), data


def test_is_fetched_timed_batch_by_batch_and_removed(
    device: Device, tiny_rungs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_timing, "BATCH", 2)
    ref, data = pack(tiny_rungs)
    timing = device.begin(ref)
    device.deliver(timing, data)
    device.drive(timing)
    ((status, text, known),) = device.ended
    assert (status, text) == ("done", "5 of 5 files timed")
    assert known is not None
    assert [each.file for each in known.timings] == [0, 1, 2, 3, 4]
    assert all(each.p50_ms and each.p95_ms and not each.error for each in known.timings)
    assert known.runtime_version
    assert [len(piece.timings) for piece in device.pieces] == [2, 4, 5]
    assert not device.store.has(ref.sha256)
    # The same measurement again: what is known is not timed again.
    device.ended.clear()
    timing = device.begin(ref)
    device.deliver(timing, data)
    ((_, _, again),) = device.ended
    assert again is not None
    assert again.timings == known.timings


def test_what_was_timed_before_a_restart_is_not_timed_again(
    device: Device, tiny_rungs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_timing, "BATCH", 2)
    ref, data = pack(tiny_rungs)
    timing = device.begin(ref)
    device.deliver(timing, data)
    device.drive(timing, until=lambda: device.pieces)
    before = device.pieces[-1].timings
    device.helpers.stop()
    device.start()
    timing = device.begin(ref)  # the pack is on disk, nothing is asked for
    assert device.asked == []
    device.drive(timing)
    ((status, _, known),) = device.ended
    assert known is not None
    assert status == "done"
    assert known.timings[: len(before)] == before


def test_a_file_that_ends_its_process_is_given_up_and_the_others_are_timed(device: Device, tiny_rungs: Any) -> None:
    ref, data = pack(tiny_rungs)
    timing = device.begin(ref)
    device.deliver(timing, data)
    killed = []
    while not device.ended:
        # As a file would that makes the runtime crash: whenever file 3 is among those begun.
        job = timing._job
        assert job is not None
        if 3 in timing._batch:
            device.helpers.cancel(pack_timing.OWNER)
            killed.append(list(timing._batch))
        ended = device.inbox.get(timeout=60)
        device.helpers.ended(ended)
        timing.take(ended)
    ((status, text, known),) = device.ended
    assert (status, text) == ("done", "4 of 5 files timed")
    assert known is not None
    assert "ended the process that timed it" in known.timings[3].error
    assert killed == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [3]]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"runtime": "abacus"}, "the pack is for abacus, this device runs onnxruntime"),
        ({"precision": "int8-symmetric"}, "profile linux-x86-64: takes"),
    ],
)
def test_a_pack_for_something_else_is_refused(device: Device, tiny_rungs: Any, changes: dict[str, Any], why: str) -> None:
    ref, data = pack(tiny_rungs, **changes)
    device.deliver(device.begin(ref), data)
    ((status, text, known),) = device.ended
    assert (status, known) == ("failed", None)
    assert why in text


def test_a_blob_that_is_no_pack_or_too_large_is_refused(device: Device) -> None:
    ref = BlobRef(sha256=hashlib.sha256(b"no pack").hexdigest(), size=7)
    device.deliver(device.begin(ref), b"no pack")
    device.begin(BlobRef(sha256="0" * 64, size=1 << 30))
    assert [how[0] for how in device.ended] == ["failed", "failed"]
    assert "does not begin as a pack does" in device.ended[0][1]
    assert "more than the limit" in device.ended[1][1]


def test_a_pack_that_never_comes_is_given_up(device: Device, tiny_rungs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ref, _ = pack(tiny_rungs)
    timing = device.begin(ref)
    for _ in range(3):
        timing.poll()
    assert device.ended == []
    monkeypatch.setattr(pack_timing, "_STALLED_S", 0.0)
    time.sleep(0.01)
    timing.poll()
    assert device.ended[0][:2] == ("failed", "no chunk of the pack came for 0 minutes")
    assert device.downloads.owner == ""


def test_what_is_being_installed_comes_first(device: Device, tiny_rungs: Any) -> None:
    ref, data = pack(tiny_rungs)
    other = BlobRef(sha256=hashlib.sha256(b"model").hexdigest(), size=5)
    device.downloads.begin("install", [other])
    timing = device.begin(ref)
    assert device.downloads.owner == "install"
    device.downloads.end("install")
    timing.poll()
    assert device.downloads.owner == pack_timing.OWNER
    device.downloads.begin("install", [other])
    timing.poll()
    assert device.downloads.owner == "install"
    device.downloads.end("install")
    timing.poll()
    device.deliver(timing, data)
    device.drive(timing)
    assert device.ended[0][0] == "done"
