"""Messages of protocol version 1 as msgspec Structs; JSON on the wire, unknown fields ignored.

Specification: ``docs/protocol.md``; JSON Schema is generated from these Structs (``docs/protocol.schema.json``).
Digests are lower-case hexadecimal SHA-256. Times: ``wall_s`` is Unix time, ``mono_s`` the device's monotonic clock.
"""

from __future__ import annotations

import base64
import binascii
import threading
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

PROTOCOL_VERSION = 1

# ``(?!\n)``: in Python ``$`` also matches before a final newline; ``\Z`` is unknown to JSON Schema.
Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$(?!\n)")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
RungId = Annotated[str, Meta(pattern=r"^r[0-9]{1,6}-[a-z0-9-]{1,24}$(?!\n)")]
Text = Annotated[str, Meta(max_length=2000)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Positive = Annotated[float, Meta(gt=0)]

MAX_MESSAGE_BYTES = 1 << 20
MAX_CHUNK_BYTES = 1 << 20


class MessageError(ValueError):
    """A message from the network does not meet the specification."""


class Message(msgspec.Struct, kw_only=True, frozen=True):
    """What every message carries: the protocol version."""

    v: Literal[1] = 1


# --- device to host ---------------------------------------------------------------------------------------------------


class State(Message, frozen=True):
    """Whether the device is there (retained; ``lost`` is the last will)."""

    state: Literal["ready", "sleeping", "disconnected", "lost", "alert"]
    boot: Id
    reason: Text = ""


class Birth(Message, frozen=True):
    """Who the device is; travels in an `Envelope` that the device's own key signed (retained)."""

    device: Id
    boot: Id
    agent_version: str
    profile: str
    trust_root_version: int
    public_key: str
    runtime: str = ""
    runtime_version: str = ""
    providers: tuple[str, ...] = ()
    machine: str = ""
    python: str = ""
    capabilities: tuple[str, ...] = ()
    simulated: Text = ""
    enrolment: Text = ""


class Reading(msgspec.Struct, frozen=True, omit_defaults=True):
    """One sensor value. ``value`` is None if, and only if, ``quality`` is ``unavailable``: never 0 for unknown.

    Of what stays unavailable, unit and source are told once in each boot.
    """

    value: float | None = None
    unit: str = ""
    source: str = ""
    quality: Literal["measured", "estimated", "unavailable"] = "measured"
    note: str = ""


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of the device at one instant, numbered without gaps within one boot."""

    seq: Count
    mono_s: float
    wall_s: float
    rung: str = ""
    requests: Count = 0
    failed_requests: Count = 0
    readings: dict[str, Reading] = {}


class Telemetry(Message, frozen=True):
    """A batch of samples of one boot, in order. ``first_held`` is the lowest ``seq`` that the outbox still holds.

    The host acknowledges the highest ``seq`` up to which it has stored all from ``first_held`` on.
    """

    boot: Id
    first_held: Count
    samples: Annotated[tuple[Sample, ...], Meta(min_length=1, max_length=1000)]


class Event(Message, frozen=True):
    """Something that happened: a governor decision with its evidence, an install step, a fault, a worker's end."""

    boot: Id
    kind: Literal["decision", "install", "fault", "worker", "command"]
    wall_s: float
    text: Text
    evidence: dict[str, Any] = {}


class RungMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """What this device measured of one rung."""

    rung: RungId
    latency_p50_ms: Positive
    latency_p95_ms: Positive
    peak_rss_mb: Positive
    energy_mj: Positive | None = None
    energy_quality: Literal["measured", "estimated", "unavailable"] = "unavailable"


SwitchMode = Literal["overlap", "replace"]
"""How a rung takes over: built beside the one before, or in its place once that has ended."""


class Reported(Message, frozen=True):
    """The device's side of the shadow (retained)."""

    version: Count
    boot: Id
    install: Literal["idle", "fetching", "verifying", "staged", "trial", "committed", "rolled-back"] = "idle"
    model: str = ""
    manifest_sha256: str = ""
    rung: str = ""
    rungs: tuple[str, ...] = ()
    pin: str = ""
    measurements: tuple[RungMeasurement, ...] = ()
    endpoint: str = ""
    providers: tuple[str, ...] = ()
    switch: SwitchMode | Literal[""] = ""
    download_have: Count = 0
    download_total: Count = 0
    fault: Text = ""


class Constraints(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a rung would have to meet on this device now; None means not constrained."""

    latency_ms: Positive | None = None
    memory_mb: Positive | None = None
    energy_mj: Positive | None = None


class AskReprune(Message, frozen=True, tag="reprune", tag_field="ask"):
    """No rung fits well: cut one. Constraints are in this device's own, unthrottled units."""

    manifest_sha256: Sha256
    precision: str
    constraints: Constraints
    measurements: Annotated[tuple[RungMeasurement, ...], Meta(max_length=64)] = ()
    reason: Text = ""


class AskChunks(Message, frozen=True, tag="chunks", tag_field="ask"):
    """Send these chunks of a blob to this device again."""

    sha256: Sha256
    indexes: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=64)]


Ask = AskReprune | AskChunks


class CommandStatus(Message, frozen=True):
    """How a command went. ``done``, ``failed`` and ``refused`` are terminal."""

    status: Literal["executing", "done", "failed", "refused"]
    text: Text = ""
    result: dict[str, Any] = {}


# --- host to device ---------------------------------------------------------------------------------------------------


class BlobRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file by its digest, and how it travels. ``chunks`` is base64 of the chunks' SHA-256 digests, one after the
    other; it is left out for a blob of one chunk, whose digest is the blob's own."""

    sha256: Sha256
    size: Annotated[int, Meta(ge=0, le=1 << 34)]
    chunk_bytes: Annotated[int, Meta(ge=1024, le=MAX_CHUNK_BYTES)] = 65536
    chunks: str = ""

    @property
    def chunk_count(self) -> int:
        """How many chunks the blob has; an empty blob has one empty chunk."""
        return max(1, -(-self.size // self.chunk_bytes))

    def chunk_digests(self) -> list[bytes]:
        """Return the 32-byte digest of each chunk.

        Raises:
            MessageError: if the list does not have one digest per chunk.
        """
        if not self.chunks and self.chunk_count == 1:
            return [bytes.fromhex(self.sha256)]
        try:
            raw = base64.b64decode(self.chunks, validate=True)
        except (binascii.Error, ValueError):
            raise MessageError(f"blob {self.sha256[:12]}: its chunk list is not base64") from None
        if len(raw) != 32 * self.chunk_count:
            raise MessageError(
                f"blob {self.sha256[:12]}: {self.chunk_count} chunks but {len(raw) / 32:g} digests in its chunk list"
            )
        return [raw[i : i + 32] for i in range(0, len(raw), 32)]


class ModelRef(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle: its signed manifest and every file that the manifest lists."""

    name: str
    manifest: BlobRef
    files: Annotated[tuple[BlobRef, ...], Meta(max_length=4096)]


class RecutRef(msgspec.Struct, frozen=True, kw_only=True):
    """A rung that was cut later: its envelope, signed by the online key, in base64, and the blob of its recipe."""

    envelope: str
    recipe: BlobRef


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the governor of the device aims at; None and 0 mean not asked for."""

    latency_ms: Positive | None = None
    memory_mb: Positive | None = None
    horizon_s: float = 0.0
    battery_reserve_percent: float = 5.0
    reprune: bool = True
    reprune_min_interval_s: float = 60.0


class Desired(Message, frozen=True):
    """The host's side of the shadow: what should be. Travels in an `Envelope` signed by the command key (retained)."""

    device: Id
    version: Annotated[int, Meta(ge=1, le=2**53)]
    model: ModelRef | None = None
    recuts: Annotated[tuple[RecutRef, ...], Meta(max_length=64)] = ()
    pin: str = ""
    policy: Policy = Policy()


class Ack(Message, frozen=True):
    """The host has committed every sample of ``boot`` up to and with ``seq``."""

    boot: Id
    seq: Count


class Answer(Message, frozen=True):
    """The host's answer to an ask. ``done`` means that what was asked for is on its way."""

    status: Literal["accepted", "done", "refused"]
    text: Text = ""


class Command(Message, frozen=True):
    """A signed command. ``seq`` grows with each command to a device; one that was seen is refused.

    ``pack`` goes with ``measure``: files that are to be timed instead of the rungs.
    """

    device: Id
    id: Id
    seq: Annotated[int, Meta(ge=1, le=2**53)]
    expires_s: float
    body: Literal["measure", "restart", "diagnose", "rollback"]
    pack: BlobRef | None = None


M = TypeVar("M")


def encode(message: object) -> bytes:
    """Encode a message as JSON."""
    return msgspec.json.encode(message)


_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}
_DECODERS_LOCK = threading.Lock()


def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """One decoder per type, made by one thread at a time: msgspec 0.22 crashes if two threads first use a type at once."""
    with _DECODERS_LOCK:
        if kind not in _DECODERS:
            _DECODERS[kind] = msgspec.json.Decoder(kind)
        return _DECODERS[kind]


def decode(data: bytes, kind: type[M], what: str = "") -> M:
    """Decode and validate a JSON message.

    Args:
        data: the payload as received.
        kind: the Struct (or union of Structs) expected.
        what: where it came from, for the error line.

    Raises:
        MessageError: if it is too large, not JSON, or does not meet the specification; one line that says where.
    """
    name = what or getattr(kind, "__name__", "message")
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageError(f"{name}: {len(data)} bytes, more than the limit of {MAX_MESSAGE_BYTES}")
    try:
        return _decoder(kind).decode(data)  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"{name}: {error}") from None
