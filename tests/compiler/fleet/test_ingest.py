from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from secateur.bundle.keys import create_keys
from secateur.fleet.commands import Commands
from secateur.fleet.devices import DeviceStore, UnknownDevice
from secateur.fleet.ingest import Ingest, open_birth
from secateur.fleet.samples import SampleStore
from secateur.fleet.store import Store, StoreError
from secateur_agent.protocol import topics
from secateur_agent.protocol.envelope import seal
from secateur_agent.protocol.messages import Birth, Event, MessageError, Sample, State, Telemetry, encode


class Bench:
    """The way in, on a real database."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "f.sqlite")
        self.devices = DeviceStore(self.store)
        self.samples = SampleStore(self.store)
        commands = Commands(self.store, create_keys(folder / "keys"), lambda *a, **k: True)
        self.ingest = Ingest(self.store, self.devices, self.samples, commands)

    def take(self, topic: str, payload: bytes) -> Any:
        self.ingest.receive(topic, payload)
        return self.ingest.process()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


def birth(key: SigningKey, device: str = "pi") -> Birth:
    public = base64.b64encode(bytes(key.verify_key)).decode()
    return Birth(device=device, boot="b1", agent_version="1", profile="p", trust_root_version=1, public_key=public)


def telemetry(*seqs: int, boot: str = "b1") -> bytes:
    samples = tuple(Sample(seq=seq, mono_s=0.0, wall_s=0.0) for seq in seqs)
    return encode(Telemetry(boot=boot, first_held=1, samples=samples))


def test_a_malformed_message_is_one_event_and_what_follows_is_stored(bench: Bench) -> None:
    topic = topics.up("pi", "telemetry")
    for payload in (b"{", b"\xff\xfe", b'{"v":1}', b"[]", b"null"):
        bench.ingest.receive(topic, payload)
    bench.ingest.receive(topic, telemetry(1, 2))
    outcome = bench.ingest.process()
    assert [ack.seq for ack in outcome.acknowledged] == [2]
    (event,) = bench.devices.events("pi")
    assert event["source"] == "host"
    assert "telemetry from pi" in event["text"]
    assert "\n" not in event["text"]
    assert bench.ingest.refused == 5


def test_a_topic_that_is_not_of_the_protocol_is_refused(bench: Bench) -> None:
    bench.take("secateur/v1/d/pi/up/nonsense", b"{}")
    bench.take("secateur/v1/d/pi/up/ask", b"{}")
    bench.take("other/topic", b"{}")
    assert bench.ingest.refused == 3


def test_a_cleared_retained_message_is_nothing(bench: Bench) -> None:
    bench.take(topics.up("pi", "state"), b"")
    assert bench.ingest.refused == 0


def test_an_event_delivered_twice_is_one_event(bench: Bench) -> None:
    payload = encode(Event(boot="b1", kind="decision", wall_s=5.0, text="r1: battery", evidence={"percent": 20}))
    for _ in range(2):
        bench.take(topics.up("pi", "event"), payload)
    (event,) = bench.devices.events("pi")
    assert (event["text"], event["evidence"]) == ("r1: battery", {"percent": 20})


def test_a_birth_is_trusted_on_first_use_and_another_key_is_refused(bench: Bench) -> None:
    first, second = SigningKey.generate(), SigningKey.generate()
    bench.take(topics.up("pi", "birth"), seal("device", birth(first), first))
    bench.take(topics.up("pi", "birth"), seal("device", birth(second), second))
    known = bench.devices.get("pi").birth
    assert known is not None
    assert known.public_key == birth(first).public_key
    (event,) = bench.devices.events("pi")
    assert "another key" in event["text"]


def test_a_birth_must_be_signed_by_the_key_it_names_and_sent_by_the_device_it_names() -> None:
    mine, other = SigningKey.generate(), SigningKey.generate()
    assert open_birth("pi", seal("device", birth(mine), mine)).device == "pi"
    with pytest.raises(MessageError, match="may not sign"):
        open_birth("pi", seal("device", birth(mine), other))
    with pytest.raises(MessageError, match="signature"):
        open_birth("pi", seal("command", birth(mine), mine))
    with pytest.raises(MessageError, match="says that it is"):
        open_birth("phone", seal("device", birth(mine), mine))


def test_an_unknown_device_is_named_with_those_that_are_known(bench: Bench) -> None:
    bench.take(topics.up("pi", "state"), encode(State(state="ready", boot="b1")))
    with pytest.raises(UnknownDevice, match="'phone': unknown; known are pi"):
        bench.devices.get("phone")


def test_messages_wait_while_the_database_refuses(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.ingest.receive(topics.up("pi", "telemetry"), telemetry(1))

    def full(_batches: object) -> None:
        raise StoreError("database: disk full")

    with monkeypatch.context() as patch:
        patch.setattr(bench.samples, "add", full)
        with pytest.raises(StoreError, match="disk full"):
            bench.ingest.process()
    assert [ack.seq for ack in bench.ingest.process().acknowledged] == [1]


KINDS = ("state", "birth", "shadow", "telemetry", "event", "ask/a1", "cmd/c1", "cmd", "other", "")


FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
BOOTS = itertools.count()


def still_stores(bench: Bench) -> bool:
    return bool(bench.take(topics.up("pi", "telemetry"), telemetry(1, boot=f"live-{next(BOOTS)}")).acknowledged)


@FUZZ
@given(messages=st.lists(st.tuples(st.sampled_from(KINDS) | st.text(max_size=20), st.binary(max_size=200)), max_size=6))
def test_random_bytes_on_any_topic_never_end_ingest(bench: Bench, messages: list[tuple[str, bytes]]) -> None:
    for kind, payload in messages:
        bench.ingest.receive(f"secateur/v1/d/pi/up/{kind}", payload)
    bench.ingest.process()
    assert still_stores(bench)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["v", "boot", "state", "seq", "samples", "first_held", "kind", "wall_s", "text", "evidence", "version", "ask", "status"]
)


@FUZZ
@given(
    kind=st.sampled_from(KINDS),
    fields=st.dictionaries(FIELDS, JSON | st.sampled_from(["b1", "ready", "done", 1]), max_size=6),
)
def test_json_of_any_shape_never_ends_ingest(bench: Bench, kind: str, fields: dict[str, Any]) -> None:
    bench.take(f"secateur/v1/d/pi/up/{kind}", json.dumps(fields).encode())
    assert still_stores(bench)
