"""Envelopes: only the exact bytes, signed by a key of the right role, open."""

from __future__ import annotations

import base64
import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from secateur_agent.protocol.envelope import Envelope, Role, keyid, open_envelope, seal
from secateur_agent.protocol.messages import Ack, MessageError, decode

KEY = SigningKey(b"k" * 32)
OTHER = SigningKey(b"o" * 32)
PUBLIC = bytes(KEY.verify_key)
KEYS = {keyid(PUBLIC): PUBLIC}
MESSAGE = Ack(boot="b1", seq=7)
SEALED = seal("command", MESSAGE, KEY)


def test_opens_with_the_key_and_role_it_was_sealed_for() -> None:
    assert decode(open_envelope("command", SEALED, KEYS), Ack) == MESSAGE


def test_is_json_with_the_key_id_of_the_specification() -> None:
    fields = json.loads(SEALED)
    assert set(fields) == {"v", "keyid", "sig", "signed"}
    assert fields["keyid"] == keyid(PUBLIC)
    assert len(base64.b64decode(fields["sig"])) == 64


@pytest.mark.parametrize("role", ["bundle", "recut", "device"])
def test_a_signature_says_nothing_in_another_role(role: Role) -> None:
    with pytest.raises(MessageError, match="wrong signature"):
        open_envelope(role, SEALED, KEYS)


def test_a_key_without_the_role_is_named_and_refused() -> None:
    with pytest.raises(MessageError, match=keyid(bytes(OTHER.verify_key))):
        open_envelope("command", seal("command", MESSAGE, OTHER), KEYS)


def test_another_key_cannot_claim_the_id_of_a_trusted_one() -> None:
    forged = msgspec.structs.replace(
        msgspec.json.decode(seal("command", MESSAGE, OTHER), type=Envelope), keyid=keyid(PUBLIC)
    )
    with pytest.raises(MessageError, match="wrong signature"):
        open_envelope("command", msgspec.json.encode(forged), KEYS)


@pytest.mark.parametrize("sig", ["", "AAAA", "not base64!", "ä", base64.b64encode(b"\0" * 64).decode()])
def test_a_signature_that_is_none_is_refused(sig: str) -> None:
    envelope = json.dumps({**json.loads(SEALED), "sig": sig}).encode()
    with pytest.raises(MessageError, match="wrong signature"):
        open_envelope("command", envelope, KEYS)


def test_unknown_fields_beside_the_signed_part_are_ignored() -> None:
    assert open_envelope("command", SEALED[:-1] + b',"later":[1]}', KEYS) == open_envelope("command", SEALED, KEYS)


def test_the_signed_bytes_are_those_of_the_message_whatever_their_spelling() -> None:
    spelt = b'{ "seq" : 7,  "boot":"b1" }'
    sig = base64.b64encode(KEY.sign(b"secateur/v1/command\n" + spelt).signature).decode()
    envelope = b'{"v":1,"keyid":"%s","sig":"%s","signed":%s}' % (keyid(PUBLIC).encode(), sig.encode(), spelt)
    assert open_envelope("command", envelope, KEYS) == spelt


@given(st.binary(max_size=200))
def test_random_bytes_give_a_message_error(data: bytes) -> None:
    with pytest.raises(MessageError):
        open_envelope("command", data, KEYS)


@given(st.integers(0, len(SEALED) * 8 - 1))
def test_a_flipped_bit_never_changes_what_is_opened(bit: int) -> None:
    altered = bytearray(SEALED)
    altered[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(MessageError):
        assert decode(open_envelope("command", bytes(altered), KEYS), Ack) == MESSAGE


@given(st.integers(0, len(SEALED) - 1))
def test_an_envelope_cut_short_is_refused(length: int) -> None:
    with pytest.raises(MessageError):
        open_envelope("command", SEALED[:length], KEYS)
