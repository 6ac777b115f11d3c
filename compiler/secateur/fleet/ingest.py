"""Takes messages from devices: decodes, validates and stores them; what is wrong is ignored, with one event.

Everything that arrived while the last transaction was being written goes into the next one, so batches grow with load.
"""

from __future__ import annotations

import base64
import binascii
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection

from secateur.fleet.admission import Admission
from secateur.fleet.commands import Commands
from secateur.fleet.devices import DeviceStore
from secateur.fleet.samples import Acknowledged, Batch, SampleStore
from secateur.fleet.store import Store, StoreError
from secateur_agent.protocol import topics
from secateur_agent.protocol.envelope import Envelope, keyid, open_envelope
from secateur_agent.protocol.messages import (
    Answer,
    Ask,
    AskChunks,
    AskReprune,
    Birth,
    CommandStatus,
    Event,
    MessageError,
    Reported,
    State,
    Telemetry,
    decode,
)

log = logging.getLogger("secateur.fleet")

MAX_WAITING = 20_000
_COMPLAINT_INTERVAL_S = 10.0
_HEARD_INTERVAL_S = 2.0
_MAX_COMPLAINERS = 1000


class Received(NamedTuple):
    """A message as it came from the broker."""

    topic: str
    payload: bytes


class Asked(NamedTuple):
    """An ask, to be answered after the transaction. ``size`` is the bytes of the message."""

    device: str
    ask_id: str
    ask: AskReprune | AskChunks
    size: int


class Outcome(msgspec.Struct):
    """What is to be done now that a batch of messages is on disk."""

    acknowledged: list[Acknowledged] = []
    answers: list[tuple[str, str, Answer]] = []
    asked: list[Asked] = []
    reported: list[tuple[str, Reported]] = []
    states: list[tuple[str, str]] = []
    ended: list[tuple[str, str]] = []


class _Known(NamedTuple):
    """A valid message."""

    device: str
    key: str
    message: Any
    payload: bytes


class Ingest:
    """The way in for all messages from devices."""

    def __init__(
        self,
        store: Store,
        devices: DeviceStore,
        samples: SampleStore,
        commands: Commands,
        admission: Admission | None = None,
    ) -> None:
        self.admission = admission or Admission(devices)
        self._store = store
        self._devices = devices
        self._samples = samples
        self._commands = commands
        self._waiting: deque[Received] = deque()
        self._complained: dict[str, float] = {}
        self._heard: set[str] = set()
        self._heard_written_s = -_HEARD_INTERVAL_S
        self.dropped = 0
        self.refused = 0

    def receive(self, topic: str, payload: bytes) -> None:
        """Take a message; never raises. Beyond `MAX_WAITING` it is dropped: its device sends it again."""
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        self._waiting.append(Received(topic, payload))

    @property
    def waiting(self) -> int:
        """How many messages are not stored yet."""
        return len(self._waiting)

    def process(self, limit: int = 2000) -> Outcome:
        """Store what waits: one transaction for telemetry, one for the rest. Not to be called twice at the same time.

        Raises:
            secateur.fleet.store.StoreError: if the database refuses; the messages wait on.
        """
        taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        try:
            return self._store_all(taken)
        except StoreError:
            self._waiting.extendleft(reversed(taken))
            raise
        except Exception:
            if len(taken) == 1:
                log.exception("message on %.200r ignored: unexpected error", taken[0].topic)
                return Outcome()
        outcome = Outcome()
        for position, one in enumerate(taken):  # find the one that cannot be stored; the others must not suffer
            try:
                single = self._store_all([one])
            except StoreError:
                self._waiting.extendleft(reversed(taken[position:]))
                break
            except Exception:
                log.exception("message on %.200r ignored: unexpected error", one.topic)
                continue
            for name in outcome.__struct_fields__:
                getattr(outcome, name).extend(getattr(single, name))
        return outcome

    def _store_all(self, taken: Sequence[Received]) -> Outcome:
        outcome = Outcome()
        known: list[_Known] = []
        complaints: list[tuple[str, str]] = []
        for received in taken:
            try:
                message = _decode(received)
                if message is not None:
                    known.append(message)
            except (MessageError, topics.TopicError) as error:
                self._complain(received.topic, str(error), complaints)
        # Births first, whatever the order of arrival: what else there is depends on who is admitted.
        self._admit([item for item in known if isinstance(item.message, Birth)], outcome, complaints)
        known = [item for item in known if not isinstance(item.message, Birth)]
        strangers = self.admission.strangers(item.device for item in known)
        known = self._admitted(known, strangers, complaints)
        telemetry = [Batch(item.device, item.message) for item in known if isinstance(item.message, Telemetry)]
        outcome.acknowledged = self._samples.add(telemetry)
        heard = self._due_heard({batch.device for batch in telemetry})
        if complaints or heard or any(not isinstance(item.message, AskChunks | Telemetry) for item in known):
            with self._store.write() as connection:
                for item in known:
                    self._store_one(connection, item, outcome)
                self._devices.heard(connection, heard)
                for device, text in complaints:
                    if device in strangers:
                        self._devices.noticed(connection, device)
                    self._devices.add_host_event(connection, device, "refused", text)
        outcome.asked = [
            Asked(item.device, item.key, item.message, len(item.payload))
            for item in known
            if isinstance(item.message, AskChunks | AskReprune)
        ]
        return outcome

    def _admit(self, births: Sequence[_Known], outcome: Outcome, complaints: list[tuple[str, str]]) -> None:
        """Decide on births, in a transaction of their own."""
        if not births:
            return
        with self._store.write() as connection:
            for item in births:
                verdict = self.admission.admit(connection, item.message)
                if verdict.accepted:
                    self._devices.born(connection, item.message)
                    if verdict.happened:
                        log.info("%s: %s", item.device, verdict.happened)
                        self._devices.add_host_event(connection, item.device, "enrolment", verdict.happened)
                else:
                    self._devices.noticed(connection, item.device)
                    self._complain(topics.up(item.device, "birth"), verdict.happened, complaints, "birth of ")
                if verdict.answer is not None:
                    outcome.answers.append((item.device, verdict.ask_id, verdict.answer))

    def _admitted(self, items: list[_Known], strangers: set[str], complaints: list[tuple[str, str]]) -> list[_Known]:
        """Return the messages that are taken; the others are counted, with one event for each device."""
        taken = []
        for item in items:
            stranger = item.device in strangers
            if not stranger and not self.admission.is_refused(item.device, getattr(item.message, "boot", "")):
                taken.append(item)
                continue
            self.admission.dropped += 1
            if stranger and self.admission.untold(item.device):
                text = f"{item.device}: not enrolled; nothing that it says is taken until its birth is admitted"
                self._complain(topics.up(item.device, "state"), text, complaints, "stranger ")
        return taken

    def _store_one(self, connection: Connection, item: _Known, outcome: Outcome) -> None:
        device, message = item.device, item.message
        if isinstance(message, State):
            self._devices.state(connection, device, message)
            outcome.states.append((device, message.state))
        elif isinstance(message, Reported):
            self._devices.reported(connection, device, message)
            outcome.reported.append((device, message))
        elif isinstance(message, Event):
            self._devices.add_event(connection, device, message, item.payload)
        elif isinstance(message, CommandStatus) and self._commands.record(connection, device, item.key, message):
            outcome.ended.append((device, item.key))

    def _due_heard(self, devices: set[str]) -> set[str]:
        """Collect the devices that sent telemetry, so that "last seen" costs a write every few seconds only."""
        self._heard |= devices
        now_s = time.monotonic()
        if now_s - self._heard_written_s < _HEARD_INTERVAL_S:
            return set()
        self._heard_written_s = now_s
        due, self._heard = self._heard, set()
        return due

    def _complain(self, topic: str, text: str, complaints: list[tuple[str, str]], kind: str = "") -> None:
        """One event per device, kind and interval: a device that sends nonsense must not fill the database."""
        self.refused += 1
        try:
            device = topics.parse_up(topic).device
        except topics.TopicError:
            device = ""
        now_s = time.monotonic()
        if now_s - self._complained.get(kind + device, -_COMPLAINT_INTERVAL_S) < _COMPLAINT_INTERVAL_S:
            return
        if len(self._complained) >= _MAX_COMPLAINERS:
            self._complained.clear()
        self._complained[kind + device] = now_s
        text = " ".join(text.split())[:500]
        log.warning("message refused: %s", text)
        complaints.append((device, text.encode("utf-8", "replace").decode()))


def _decode(received: Received) -> _Known | None:
    """Decode one message; None for an empty one, which only clears a retained message."""
    source = topics.parse_up(received.topic)
    if not received.payload:
        return None
    kind = _KINDS.get(source.kind)
    if kind is None or (source.kind in ("ask", "cmd")) != bool(source.key):
        raise topics.TopicError(f"topic {received.topic!r}: unknown kind of message from a device")
    what = f"{source.kind} from {source.device}"
    if source.kind == "birth":
        return _Known(source.device, "", open_birth(source.device, received.payload, what), received.payload)
    return _Known(source.device, source.key, decode(received.payload, kind, what), received.payload)


def open_birth(device: str, payload: bytes, what: str = "birth") -> Birth:
    """Verify a birth: signed by the very key that it names, and sent by the device that it names.

    Raises:
        MessageError: if it is not.
    """
    birth = decode(bytes(decode(payload, Envelope, what).signed), Birth, what)
    try:
        public = base64.b64decode(birth.public_key, validate=True)
    except (binascii.Error, ValueError):
        public = b""
    if len(public) != 32:
        raise MessageError(f"{what}: public_key is not a 32-byte Ed25519 key in base64")
    open_envelope("device", payload, {keyid(public): public}, what)
    if birth.device != device:
        raise MessageError(f"{what}: it says that it is {birth.device!r}")
    return birth


_KINDS: dict[str, Any] = {
    "state": State,
    "birth": Birth,
    "shadow": Reported,
    "telemetry": Telemetry,
    "event": Event,
    "ask": Ask,
    "cmd": CommandStatus,
}
