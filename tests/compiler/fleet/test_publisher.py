from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from tests.bundle_factory import make_bundle
from tests.scripted_device import HostProcess, ScriptedDevice, eventually

from secateur.bundle.keys import Keys
from secateur.fleet.blobs import blob_ref
from secateur.fleet.publisher import Broadcast, Target
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import BlobRef, Desired, Reported

MakeDevice = Callable[..., ScriptedDevice]


def known(host: HostProcess, *devices: str) -> None:
    with host.client() as client:
        eventually("births", lambda: {d["device"] for d in client.devices() if d["profile"]} >= set(devices))


def refs_of(desired: Desired) -> list[BlobRef]:
    assert desired.model is not None
    return [desired.model.manifest, *desired.model.files]


def start_fetching(device: ScriptedDevice, keys: Keys) -> Desired:
    desired: Desired = device.wait("desired shadow", lambda d: d.desired(keys.root.keys("command")))
    for ref in refs_of(desired):
        device.subscribe(f"{topics.ROOT}/b/{ref.sha256}/+")
    device.report(desired.version, install="fetching")
    return desired


def test_each_chunk_is_broadcast_once_for_two_devices(
    host: HostProcess, make_device: MakeDevice, keys: Keys, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path, keys)
    devices = [make_device("pi"), make_device("jetson")]
    known(host, "pi", "jetson")
    with host.client() as client:
        client.push(bundle, ["pi", "jetson"], chunk_kib=1)
        refs = [refs_of(start_fetching(device, keys)) for device in devices]
        chunks = {topics.chunk(ref.sha256, index) for ref in refs[0] for index in range(ref.chunk_count)}
        total = sum(ref.size for ref in refs[0])
        for device in devices:
            device.wait("all chunks", lambda d: chunks <= {message.topic for message in d.received})
            for topic in chunks:
                assert len(device.on(topic)) == 1
        for ref in refs[0]:
            data = b"".join(devices[0].on(topics.chunk(ref.sha256, i))[0].payload for i in range(ref.chunk_count))
            assert hashlib.sha256(data).hexdigest() == ref.sha256
        assert client.status()["broadcast_bytes"] == total
        assert client.device("pi")["broadcast_bytes"] == total
        assert client.device("pi")["repair_bytes"] == 0


def test_a_missing_chunk_is_repaired_for_the_device_that_asks_also_after_the_host_was_killed(
    host: HostProcess, make_device: MakeDevice, keys: Keys, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path, keys)
    pi, other = make_device("pi"), make_device("other")
    known(host, "pi")
    with host.client() as client:
        client.push(bundle, ["pi"], chunk_kib=1)
    desired = pi.wait("desired shadow", lambda d: d.desired(keys.root.keys("command")))
    ref = max(refs_of(desired), key=lambda r: r.chunk_count)
    host.kill()
    host.start()
    pi.ask_chunks(ref.sha256, [0, ref.chunk_count - 1, ref.chunk_count])
    for index in (0, ref.chunk_count - 1):
        (message, *_) = pi.wait("repair", lambda d, i=index: d.on(topics.repair("pi", ref.sha256, i)))
        assert hashlib.sha256(message.payload).digest() == ref.chunk_digests()[index]
    with host.client() as client:
        assert eventually("count", lambda: client.device("pi")["repair_bytes"]) > 0
        other.ask_chunks(ref.sha256, [0])
        events = eventually("refusal", lambda: client.events("other"))
    assert "does not name" in events[0]["text"]
    assert other.received == []


def broadcast(*devices: str) -> Broadcast:
    planned = Broadcast(began_s=0.0)
    planned.add({device: Target(3, "m" * 64) for device in devices}, [blob_ref(b"x")])
    return planned


def test_a_broadcast_begins_when_all_targets_fetch() -> None:
    planned = broadcast("a", "b")
    planned.heard("a", Reported(version=3, boot="x", install="fetching"))
    planned.heard("b", Reported(version=2, boot="x", install="fetching"))
    assert not planned.ready(1.0, 5.0, lambda device: True)
    planned.heard("b", Reported(version=3, boot="x", install="fetching"))
    assert planned.ready(1.0, 5.0, lambda device: True)


def test_a_broadcast_waits_no_longer_than_told_but_for_somebody_to_hear_it() -> None:
    planned = broadcast("a", "b")
    assert not planned.ready(6.0, 5.0, lambda device: False)
    assert planned.ready(6.0, 5.0, lambda device: device == "b")
    planned.heard("a", Reported(version=3, boot="x", install="fetching"))
    assert planned.ready(6.0, 5.0, lambda device: False)


def test_a_broadcast_is_over_when_every_target_has_the_model() -> None:
    planned = broadcast("a")
    planned.heard("a", Reported(version=3, boot="x", install="committed", manifest_sha256="f" * 64))
    assert not planned.over
    planned.heard("a", Reported(version=3, boot="x", install="committed", manifest_sha256="m" * 64))
    assert planned.over


def test_the_same_blob_for_another_device_joins_the_planned_broadcast() -> None:
    planned = broadcast("a")
    planned.add({"b": Target(9, "n" * 64)}, [blob_ref(b"x"), blob_ref(b"y")])
    assert len(planned.refs) == 2
    assert sorted(map(sorted, planned.wanted_by.values())) == [["a", "b"], ["b"]]
