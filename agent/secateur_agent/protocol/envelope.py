"""Signed envelopes: exact bytes and an Ed25519 signature over them (RFC 8032).

The signature covers ``secateur/v1/<role>`` + newline + the bytes of ``signed`` as they stand in the message, so no
canonical JSON is needed, and a signature made for one role says nothing in another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Literal

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from secateur_agent.protocol.messages import MessageError, decode

Role = Literal["bundle", "recut", "command", "device"]


class Envelope(msgspec.Struct, kw_only=True, frozen=True):
    """``signed`` is JSON, kept byte for byte; ``keyid`` names the key, ``sig`` is the signature in base64."""

    v: Literal[1] = 1
    keyid: str
    sig: str
    signed: msgspec.Raw


def keyid(public_key: bytes) -> str:
    """Return the id of a 32-byte Ed25519 public key: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def keyid_of(public_key: str) -> str:
    """Return the id of a public key in base64; that of no key if it is none."""
    try:
        return keyid(base64.b64decode(public_key, validate=True))
    except (binascii.Error, ValueError):
        return keyid(b"")


def _covered(role: Role, signed: bytes) -> bytes:
    return b"secateur/v1/" + role.encode() + b"\n" + signed


def seal(role: Role, payload: object, key: SigningKey) -> bytes:
    """Sign a message.

    Args:
        role: what the signature is for; the verifier must expect the same.
        payload: the Struct to sign.
        key: the Ed25519 private key.

    Returns:
        The encoded envelope.
    """
    signed = msgspec.json.encode(payload)
    sig = base64.b64encode(key.sign(_covered(role, signed)).signature).decode()
    return msgspec.json.encode(Envelope(keyid=keyid(bytes(key.verify_key)), sig=sig, signed=msgspec.Raw(signed)))


def open_envelope(role: Role, data: bytes, keys: dict[str, bytes], what: str = "envelope") -> bytes:
    """Verify an envelope and return the bytes that were signed.

    Args:
        role: what the signature must be for.
        data: the encoded envelope.
        keys: keyid → 32-byte public key of every key that holds this role.
        what: name for the error line.

    Raises:
        MessageError: if it is malformed, the key does not hold the role, or the signature is wrong.
    """
    envelope = decode(data, Envelope, what)
    public = keys.get(envelope.keyid)
    if public is None:
        raise MessageError(f"{what}: signed by key {envelope.keyid[:64]!r}, which may not sign a {role} here")
    signed = bytes(envelope.signed)
    try:
        VerifyKey(public).verify(_covered(role, signed), base64.b64decode(envelope.sig, validate=True))
    except (BadSignatureError, binascii.Error, ValueError):
        raise MessageError(f"{what}: wrong signature; it was altered or signed for something else") from None
    return signed
