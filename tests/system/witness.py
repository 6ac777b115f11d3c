"""Listens to all that passes between hosts and devices, and can put in a message of its own, as a rogue could."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import Ack, Answer, Ask, AskChunks, AskReprune, Event, Reported, decode

T = TypeVar("T")


class Witness:
    """One client that is subscribed to everything.

    Attributes:
        asked: (digest, index) of each chunk that a device asked for.
        acknowledged: boot → highest seq that a host acknowledged.
        chunks: (digest, index) of each chunk that was broadcast; ``repairs`` of those sent to one device.
    """

    def __init__(self, port: int, device: str) -> None:
        self._device = device
        self._changed = threading.Condition()
        self.asked: list[tuple[str, int]] = []
        self.reprunes: list[AskReprune] = []
        self.answers: list[Answer] = []
        self.acknowledged: dict[str, int] = {}
        self.chunks: list[tuple[str, int]] = []
        self.repairs: list[tuple[str, int]] = []
        self.events: list[Event] = []
        self.reported: Reported | None = None
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="witness", protocol=mqtt.MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._subscribed = threading.Event()
        self._client.on_connect = lambda client, *_: client.subscribe(f"{topics.ROOT}/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(20)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish anything."""
        self._client.publish(topic, payload, qos=1)

    def wait(self, what: str, condition: Callable[[Witness], T], seconds: float = 60.0) -> T:
        """Wait until ``condition(self)`` is true; return what it returned."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), seconds):
                texts = [f"{event.kind}: {event.text}" for event in self.events]
                raise AssertionError(f"in vain: {what}; reported {self.reported}; events {texts[-20:]}")
            return condition(self)

    def texts(self, kind: str) -> list[str]:
        """The texts of the device's events of a kind."""
        return [event.text for event in self.events if event.kind == kind]

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        level = message.topic.split("/")[2:]
        with self._changed:
            if level[0] == "b":
                self.chunks.append((level[1], int(level[2])))
            elif level[2:4] == ["dn", "b"]:
                self.repairs.append((level[4], int(level[5])))
            elif level[1] == self._device and message.payload:
                self._take(level[2], level[3], bytes(message.payload))
            self._changed.notify_all()

    def _take(self, direction: str, kind: str, payload: bytes) -> None:
        if (direction, kind) == ("up", "shadow"):
            self.reported = decode(payload, Reported)
        elif (direction, kind) == ("up", "event"):
            self.events.append(decode(payload, Event))
        elif (direction, kind) == ("dn", "ack"):
            ack = decode(payload, Ack)
            self.acknowledged[ack.boot] = max(ack.seq, self.acknowledged.get(ack.boot, 0))
        elif (direction, kind) == ("dn", "answer"):
            self.answers.append(decode(payload, Answer))
        elif (direction, kind) == ("up", "ask"):
            ask: AskChunks | AskReprune = decode(payload, Ask)  # type: ignore[arg-type]
            if isinstance(ask, AskReprune):
                self.reprunes.append(ask)
            else:
                self.asked += [(ask.sha256, index) for index in ask.indexes]
