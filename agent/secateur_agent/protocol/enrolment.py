"""One-time tokens with which a device is enrolled, and the proof of one that its birth carries.

Specification: ``docs/protocol.md``, "Enrolment". The token itself never travels: it is the seed of an Ed25519 key, and the
proof is a signature by that key over device id and device key. A host keeps the token's public key, which proves nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from secateur_agent.protocol.messages import MessageError

TOKEN_BYTES = 32
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{43}")
_PROOF_BYTES = 32 + 64
_ANSWER = "enrol-"


class TokenError(ValueError):
    """A token is not 32 bytes in base64url."""


def encode_token(token: bytes) -> str:
    """Return a token as it stands in its file: 43 characters of base64url, without padding."""
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def decode_token(text: bytes) -> bytes:
    """Return the 32 bytes of a token.

    Args:
        text: content of the file; white space around the token does not matter.

    Raises:
        TokenError: if it is something else. The text is not in the message: it may be a secret.
    """
    stripped = text.strip()
    if not _TOKEN.fullmatch(stripped):
        raise TokenError(f"not a token: {len(stripped)} bytes, expected 43 letters, digits, '-' or '_'")
    token = base64.urlsafe_b64decode(stripped + b"=")
    if encode_token(token).encode() != stripped:  # the last character has two bits that must be 0
        raise TokenError("not a token: its last character cannot be that of 32 bytes")
    return token


def token_key(token: bytes) -> SigningKey:
    """Return the key that a token stands for."""
    return SigningKey(hashlib.sha256(b"secateur/v1/enrolment-token\n" + token).digest())


def public_token_key(token: bytes) -> str:
    """Return what a host keeps of a token: the public half of its key, in base64."""
    return base64.b64encode(bytes(token_key(token).verify_key)).decode()


def make_proof(token: bytes, device: str, public_key: str) -> str:
    """Prove to hold a token, for one device and one key alone.

    Args:
        token: its 32 bytes.
        device: the id of the device.
        public_key: the device's own key in base64, as in its birth.

    Returns:
        Base64 of the token's public key (32 bytes) and its signature (64 bytes).
    """
    key = token_key(token)
    return base64.b64encode(bytes(key.verify_key) + key.sign(_covered(device, public_key)).signature).decode()


def check_proof(proof: str, device: str, public_key: str) -> str:
    """Verify a proof.

    Args:
        proof: as `make_proof` returned it.
        device: the id that it must be for.
        public_key: the device key that it must be for.

    Returns:
        The token's public key in base64. Whether it is one that was given to this device is for the caller to know.

    Raises:
        MessageError: if it is malformed, or was made for another device or another key.
    """
    try:
        data = base64.b64decode(proof, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != _PROOF_BYTES:
        raise MessageError(f"enrolment: expected {_PROOF_BYTES} bytes in base64")
    try:
        VerifyKey(data[:32]).verify(_covered(device, public_key), data[32:])
    except (BadSignatureError, ValueError):
        raise MessageError("enrolment: the proof is wrong, or was made for another device or another key") from None
    return base64.b64encode(data[:32]).decode()


def answer_id(keyid: str) -> str:
    """Return the id under which the host answers the birth of a device with this key."""
    return _ANSWER + keyid


def answered_key(ask_id: str) -> str | None:
    """Return the id of the key that an answer is for; None if it is the answer to something else than a birth."""
    return ask_id.removeprefix(_ANSWER) if ask_id.startswith(_ANSWER) else None


def _covered(device: str, public_key: str) -> bytes:
    return b"secateur/v1/enrol\n" + device.encode() + b"\n" + public_key.encode()
