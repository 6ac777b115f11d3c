"""Messages: what is valid survives the wire, what is not gives one line and never anything else."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur_agent.protocol import messages as m
from secateur_agent.protocol.messages import MAX_MESSAGE_BYTES, MessageError, decode, encode
from secateur_agent.protocol.schema import MESSAGES
from secateur_agent.protocol.timings import Conditions, FileTiming, PackTimings

SHA = "ab" * 32
BLOB = m.BlobRef(sha256=SHA, size=10)
MEASURED = m.RungMeasurement(rung="r0-int8", latency_p50_ms=1.5, latency_p95_ms=2.0, peak_rss_mb=60.0)
READING = m.Reading(value=1.0, unit="MB", source="meminfo", quality="measured")
EXAMPLES: tuple[msgspec.Struct, ...] = (
    m.State(state="ready", boot="b1"),
    m.Birth(device="pi-1", boot="b1", agent_version="1", profile="p", trust_root_version=1, public_key="k"),
    m.Telemetry(boot="b1", first_held=1, samples=(m.Sample(seq=1, mono_s=1.0, wall_s=2.0, readings={"a": READING}),)),
    m.Event(boot="b1", kind="decision", wall_s=1.0, text="down", evidence={"limits": [1, None]}),
    m.Reported(version=1, boot="b1", measurements=(MEASURED,)),
    m.AskReprune(manifest_sha256=SHA, precision="int8", constraints=m.Constraints(latency_ms=4.0)),
    m.AskChunks(sha256=SHA, indexes=(0, 5)),
    m.CommandStatus(status="done"),
    m.Desired(
        device="pi-1",
        version=3,
        model=m.ModelRef(name="toy", manifest=BLOB, files=(BLOB,)),
        recuts=(m.RecutRef(envelope="e30=", recipe=BLOB),),
        policy=m.Policy(latency_ms=20.0),
    ),
    m.Ack(boot="b1", seq=7),
    m.Answer(status="done"),
    m.Command(device="pi-1", id="c1", seq=1, expires_s=1e9, body="measure", pack=BLOB),
    PackTimings(
        total=2,
        runtime_version="1.23.2",
        timings=(FileTiming(file=0, p50_ms=1.0, p95_ms=2.0, slowed=True), FileTiming(file=1, error="no memory")),
        conditions=Conditions(temperature_c=80.0),
    ),
)


def as_json(message: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encode(message))
    return found


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_survives_the_wire_and_carries_the_version(message: msgspec.Struct) -> None:
    assert decode(encode(message), type(message)) == message
    assert as_json(message)["v"] == 1


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_unknown_fields_are_ignored(message: msgspec.Struct) -> None:
    data = json.dumps({**as_json(message), "of_a_later_version": {"x": [1]}}).encode()
    assert decode(data, type(message)) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_another_version_is_refused(message: msgspec.Struct) -> None:
    with pytest.raises(MessageError, match=r"\$\.v"):
        decode(json.dumps({**as_json(message), "v": 2}).encode(), type(message))


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_a_field_of_the_wrong_type_is_named(message: msgspec.Struct) -> None:
    for field in as_json(message):
        if field != "v":
            with pytest.raises(MessageError, match=rf"^here: .*\$\.{field}"):
                decode(json.dumps({**as_json(message), field: True}).encode(), type(message), "here")


def test_an_ask_is_told_apart_by_its_kind() -> None:
    for message in EXAMPLES:
        if isinstance(message, m.AskReprune | m.AskChunks):
            assert decode(encode(message), m.Ask) == message  # type: ignore[arg-type]
    with pytest.raises(MessageError):
        decode(b'{"v":1,"ask":"shell"}', m.Ask)  # type: ignore[arg-type]


@pytest.mark.parametrize("boot", ["", "a/b", "a\n", "+", "x" * 65, "ä"])
def test_an_id_is_checked_like_in_topics(boot: str) -> None:
    with pytest.raises(MessageError, match="boot"):
        decode(json.dumps({"state": "ready", "boot": boot}).encode(), m.State)


@pytest.mark.parametrize("rung", ["r0", "r0-int8\n", "../r0-int8", "r0-INT8", "r1234567-int8", "x0-int8"])
def test_a_rung_id_is_safe_as_a_file_name(rung: str) -> None:
    data = json.dumps({"rung": rung, "latency_p50_ms": 1, "latency_p95_ms": 1, "peak_rss_mb": 1}).encode()
    with pytest.raises(MessageError, match="rung"):
        decode(data, m.RungMeasurement)


@pytest.mark.parametrize("body", ["shell", "", "restart; reboot"])
def test_commands_are_a_closed_set(body: str) -> None:
    command = {"device": "pi-1", "id": "c1", "seq": 1, "expires_s": 1.0, "body": body}
    with pytest.raises(MessageError, match=r"\$\.body"):
        decode(json.dumps(command).encode(), m.Command)


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b"[" * 50_000, b'{"state":NaN}'])
def test_what_is_not_the_json_of_a_message_is_refused(data: bytes) -> None:
    for kind in MESSAGES:
        with pytest.raises(MessageError):
            decode(data, kind)


def test_a_message_over_the_limit_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(MessageError, match="more than the limit"):
        decode(b" " * MAX_MESSAGE_BYTES + b"{}", m.State)


def test_limits_on_lists_hold() -> None:
    with pytest.raises(MessageError, match="samples"):
        decode(b'{"boot":"b1","first_held":1,"samples":[]}', m.Telemetry)
    with pytest.raises(MessageError, match="indexes"):
        decode(json.dumps({"ask": "chunks", "sha256": SHA, "indexes": list(range(65))}).encode(), m.AskChunks)


def test_constraints_are_positive_and_never_infinite() -> None:
    for bad in ("0", "-1", "1e999", "NaN", "null, null"):
        with pytest.raises(MessageError):
            decode(f'{{"latency_ms":{bad}}}'.encode(), m.Constraints)


@given(st.binary(max_size=300))
def test_random_bytes_give_a_message_error(data: bytes) -> None:
    for kind in MESSAGES:
        with pytest.raises(MessageError):
            decode(data, kind)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(EXAMPLES), st.data())
def test_any_json_in_any_field_is_valid_or_a_message_error(message: msgspec.Struct, data: st.DataObject) -> None:
    fields = as_json(message)
    field = data.draw(st.sampled_from(sorted(fields)))
    changed = json.dumps({**fields, field: data.draw(json_values)}).encode()
    with contextlib.suppress(MessageError):
        again = decode(changed, type(message))
        assert decode(encode(again), type(message)) == again


# --- blobs ------------------------------------------------------------------------------------------------------------


def test_a_blob_of_one_chunk_needs_no_list() -> None:
    assert m.BlobRef(sha256=SHA, size=65536).chunk_digests() == [bytes.fromhex(SHA)]
    assert m.BlobRef(sha256=SHA, size=0).chunk_count == 1


def test_chunk_digests_are_read_in_order() -> None:
    digests = [bytes([i]) * 32 for i in range(3)]
    blob = m.BlobRef(sha256=SHA, size=2049, chunk_bytes=1024, chunks=base64.b64encode(b"".join(digests)).decode())
    assert blob.chunk_count == 3
    assert blob.chunk_digests() == digests


@pytest.mark.parametrize("chunks", ["", "AAAA", "not base64!", "ä", base64.b64encode(b"x" * 65).decode()])
def test_a_chunk_list_that_does_not_fit_the_size_is_refused(chunks: str) -> None:
    with pytest.raises(MessageError, match="chunk"):
        m.BlobRef(sha256=SHA, size=2048, chunk_bytes=1024, chunks=chunks).chunk_digests()


@given(
    st.integers(0, 1 << 34),
    st.integers(1024, 1 << 20),
    st.text(max_size=100) | st.binary(max_size=99).map(lambda raw: base64.b64encode(raw).decode()),
)
def test_any_chunk_list_gives_one_digest_per_chunk_or_a_message_error(size: int, chunk_bytes: int, chunks: str) -> None:
    blob = m.BlobRef(sha256=SHA, size=size, chunk_bytes=chunk_bytes, chunks=chunks)
    try:
        digests = blob.chunk_digests()
    except MessageError:
        return
    assert len(digests) == blob.chunk_count
    assert all(len(digest) == 32 for digest in digests)
