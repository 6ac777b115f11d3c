"""One-time tokens and the proof of one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from secateur_agent.protocol.enrolment import (
    TokenError,
    answer_id,
    answered_key,
    check_proof,
    decode_token,
    encode_token,
    make_proof,
    public_token_key,
)
from secateur_agent.protocol.messages import MessageError

KEY = base64.b64encode(bytes(SigningKey(bytes(32)).verify_key)).decode()
OTHER_KEY = base64.b64encode(bytes(SigningKey(bytes(31) + b"1").verify_key)).decode()
TOKEN = bytes(range(32))
tokens = st.binary(min_size=32, max_size=32)


@given(tokens)
def test_a_token_is_read_back_from_its_file(token: bytes) -> None:
    text = encode_token(token)
    assert len(text) == 43
    assert decode_token(f" {text}\r\n".encode()) == token


@given(st.binary(max_size=100))
def test_whatever_the_file_holds_it_is_a_token_or_one_line_without_its_content(content: bytes) -> None:
    refusal = ""
    try:
        token = decode_token(content)
    except TokenError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert refusal or encode_token(token).encode() == content.strip()


def test_a_token_that_was_cut_off_is_refused_and_not_shown() -> None:
    text = encode_token(TOKEN)
    for wrong in (text[:-1], text + "A", text[:-1] + "B", text.replace("A", "+"), ""):
        with pytest.raises(TokenError) as refused:
            decode_token(wrong.encode())
        assert text[:8] not in str(refused.value)


@given(tokens, st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True))
def test_a_proof_names_the_token_it_was_made_with(token: bytes, device: str) -> None:
    assert check_proof(make_proof(token, device, KEY), device, KEY) == public_token_key(token)


def test_a_proof_is_good_for_one_device_and_one_key() -> None:
    """The birth is retained: whoever reads it must not enrol another key, or another id, with what it carries."""
    proof = make_proof(TOKEN, "pi", KEY)
    for device, key in (("pi2", KEY), ("pi", OTHER_KEY), ("pi\n" + KEY[:3], KEY[3:])):
        with pytest.raises(MessageError, match="another device or another key"):
            check_proof(proof, device, key)


@given(st.text(max_size=300))
def test_any_text_is_no_proof_and_one_line(text: str) -> None:
    with pytest.raises(MessageError) as refused:
        check_proof(text, "pi", KEY)
    assert "\n" not in str(refused.value)


@given(st.integers(min_value=0, max_value=95), st.integers(min_value=1, max_value=255))
def test_a_proof_with_one_changed_byte_is_refused(position: int, change: int) -> None:
    data = bytearray(base64.b64decode(make_proof(TOKEN, "pi", KEY)))
    data[position] ^= change
    with pytest.raises(MessageError):
        check_proof(base64.b64encode(data).decode(), "pi", KEY)


def test_a_proof_by_another_token_in_the_name_of_the_first_is_refused() -> None:
    stolen = base64.b64decode(public_token_key(TOKEN)) + base64.b64decode(make_proof(bytes(32), "pi", KEY))[32:]
    with pytest.raises(MessageError):
        check_proof(base64.b64encode(stolen).decode(), "pi", KEY)


def test_the_proof_is_that_of_the_specification() -> None:
    """As docs/protocol.md says it, with nothing of ours."""
    import hashlib

    key = SigningKey(hashlib.sha256(b"secateur/v1/enrolment-token\n" + TOKEN).digest())
    signed = key.sign(b"secateur/v1/enrol\npi\n" + KEY.encode()).signature
    assert base64.b64decode(make_proof(TOKEN, "pi", KEY)) == bytes(key.verify_key) + signed


def test_answers_to_births_are_told_from_answers_to_asks() -> None:
    assert answered_key(answer_id("0123456789abcdef")) == "0123456789abcdef"
    assert answered_key("7be1f0a2c9d4-3") is None
