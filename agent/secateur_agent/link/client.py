"""The MQTT v5 connection of one device.

paho runs the network in a thread of its own. That thread only hands over to the inbox, a queue that the supervisor
empties; it survives whatever goes wrong in a callback or comes over the wire, and reconnects for ever.
"""

from __future__ import annotations

import logging
import queue
import random
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from secateur_agent.link.acknowledgements import Acknowledgements
from secateur_agent.link.broker import BrokerAddress
from secateur_agent.link.events import Connected, Disconnected, Received
from secateur_agent.link.failures import connect_failure
from secateur_agent.link.network import ResilientClient, guarded
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import State, encode

__all__ = ["Connected", "Disconnected", "Link", "LinkError", "Received"]

SESSION_EXPIRY_S = 3600
"""How long the broker keeps what it has for a device that is away; afterwards the retained messages say it all."""
MAX_OUT_MESSAGES = 200
MAX_WAITING_MESSAGES = 256
"""Messages in the inbox; beyond, QoS 0 is dropped, and QoS 1 waits in the network, then at the broker."""
ROOM_LIMIT_S = 5.0
RECEIVE_MAXIMUM = 64
STOP_LIMIT_S = 3.0
_FILTERS_PER_PACKET = 50

_log = logging.getLogger(__name__)


class LinkError(ValueError):
    """The connection cannot be set up as configured."""


class Link:
    """Connection of one device to its broker. Everything that happens comes out of the inbox.

    Put into the inbox: `Connected`, `Disconnected`, `Received`. After each `Connected` the caller publishes its
    retained messages again (state, birth, shadow), since a broker may have lost them.
    """

    def __init__(
        self,
        device: str,
        boot: str,
        address: BrokerAddress,
        inbox: queue.Queue[Any],
        keepalive_s: int = 20,
        username: str | None = None,
        password: str | None = None,
        ca_file: Path | None = None,
        reconnect_s: tuple[float, float] = (1.0, 30.0),
    ) -> None:
        """Prepare the connection; `start` makes it.

        Args:
            device: id of the device; also names its session at the broker, so it must be unique.
            boot: id of this start, for the state that the broker publishes if the device is lost.
            address: the broker.
            inbox: where events go; best unbounded, since the link bounds what it puts there itself; else room for 16.
            keepalive_s: after 1.5 times this without a sign of life, either side gives the connection up.
            username: name to log in with; the address's own if None.
            password: password to log in with.
            ca_file: certificates to trust for ``mqtts``; the system's if None.
            reconnect_s: shortest and longest wait before a new attempt; it doubles, and varies between devices.

        Raises:
            LinkError: if the certificates cannot be read.
            secateur_agent.protocol.topics.TopicError: if ``device`` is not an id.
        """
        self._state_topic = topics.up(device, "state")
        self._boot = boot
        self._address = address
        self._inbox = inbox
        self._keepalive_s = keepalive_s
        self._reconnect_s = reconnect_s
        self._capacity = min(MAX_WAITING_MESSAGES, inbox.maxsize - 8 if inbox.maxsize > 0 else MAX_WAITING_MESSAGES)
        self._lock = threading.Lock()
        self._filters: dict[str, int] = {}
        self._unwanted: set[str] = set()
        self._connected = threading.Event()
        self._stopping = False
        self._told: set[str] = set()
        self._overflowed = False
        self._acknowledgements: Acknowledgements | None = None
        self._client = self._make_client(device, username or address.username, password, ca_file)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection and it has not ended."""
        return self._connected.is_set()

    def start(self) -> None:
        """Connect in the background, and go on trying for ever: the broker need not be there yet. May follow `stop`."""
        self._stopping = False
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = SESSION_EXPIRY_S
        session.ReceiveMaximum = RECEIVE_MAXIMUM
        self._client.connect_async(
            self._address.host, self._address.port, self._keepalive_s, clean_start=False, properties=session
        )
        self._client.loop_start()

    def stop(self, state: str = "disconnected") -> None:
        """Publish the last state, retained, and disconnect. If the broker does not confirm it, it publishes ``lost``.

        Args:
            state: ``disconnected`` or ``sleeping``.
        """
        self._stopping = True
        confirmed = False
        if self.connected:
            payload = encode(State(state=state, boot=self._boot))  # type: ignore[arg-type]
            info = self._client.publish(self._state_topic, payload, qos=1, retain=True)
            try:
                info.wait_for_publish(STOP_LIMIT_S)
                confirmed = info.is_published()
            except (RuntimeError, ValueError):
                _log.warning("the state %r could not be published before disconnecting", state)
        # A normal disconnection carries no reason code: iotcore publishes the will whenever there is one, even 0.
        reason = None if confirmed else ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message")
        self._client.disconnect(reasoncode=reason)
        self._client.loop_stop()
        self._connected.clear()

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> bool:
        """Hand a message over for sending. While there is no connection, QoS 1 waits in memory, within limits.

        Args:
            topic: where to.
            payload: the message.
            qos: 0 or 1.
            retain: whether the broker keeps it for later subscribers.
            expiry_s: when the broker may drop it.

        Returns:
            True if it was taken; False if not, because too much is waiting or, for QoS 0, there is no connection.
        """
        properties = None
        if expiry_s is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = max(1, int(expiry_s))
        result = self._client.publish(topic, payload, qos=qos, retain=retain, properties=properties)
        if result.rc == mqtt.MQTT_ERR_SUCCESS:
            return True
        # paho keeps QoS 1 although it returns this error.
        return result.rc == mqtt.MQTT_ERR_NO_CONN and qos > 0

    def subscribe(self, *filters: str, qos: int = 1) -> None:
        """Subscribe now and after every reconnect."""
        with self._lock:
            self._filters.update(dict.fromkeys(filters, qos))
            self._unwanted.difference_update(filters)
            if self.connected:
                self._send_subscriptions(dict.fromkeys(filters, qos))

    def unsubscribe(self, *filters: str) -> None:
        """Unsubscribe, at the next connection if there is none now.

        Ignore what still comes: a broker may have it queued, and iotcore ignores this in a session that was resumed.
        """
        with self._lock:
            for name in filters:
                self._filters.pop(name, None)
            self._unwanted.update(filters)
            if self.connected:
                self._send_unsubscriptions()

    def _make_client(self, device: str, username: str | None, password: str | None, ca_file: Path | None) -> ResilientClient:
        client = ResilientClient(
            CallbackAPIVersion.VERSION2, client_id=f"secateur-{device}", protocol=mqtt.MQTTv5, manual_ack=True
        )
        client.max_queued_messages_set(MAX_OUT_MESSAGES)
        self._vary_reconnect_delay(client)
        if username is not None:
            client.username_pw_set(username, password)
        if self._address.tls:
            try:
                client.tls_set_context(ssl.create_default_context(cafile=str(ca_file) if ca_file else None))
            except (OSError, ssl.SSLError) as error:
                raise LinkError(f"ca_file {ca_file}: {error.strerror or error}; expected PEM certificates") from None
        client.will_set(self._state_topic, encode(State(state="lost", boot=self._boot)), qos=1, retain=True)
        client.on_connect = guarded(self._on_connect)
        client.on_connect_fail = guarded(self._on_connect_fail)
        client.on_disconnect = guarded(self._on_disconnect)
        client.on_message = guarded(self._on_message)
        client.on_subscribe = guarded(self._on_subscribe)
        return client

    def _vary_reconnect_delay(self, client: mqtt.Client) -> None:
        """Jitter, so that a fleet does not return to a restarted broker in step."""
        shortest_s, longest_s = self._reconnect_s
        # paho takes any number here; its annotation says int.
        client.reconnect_delay_set(
            shortest_s * random.uniform(0.5, 1.5),  # type: ignore[arg-type]
            longest_s * random.uniform(0.7, 1.3),  # type: ignore[arg-type]
        )

    def _on_connect(self, client: mqtt.Client, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._tell_down(Disconnected(f"{self._address} refused the connection: {reason}"))
            return
        if self._stopping:
            client.disconnect()
            return
        self._vary_reconnect_delay(client)
        self._acknowledgements = Acknowledgements(client.ack)
        self._told.clear()
        self._overflowed = False
        with self._lock:
            # Also when the broker kept the session: what was subscribed while away is not in it, and the retained
            # messages come again, which repairs a queue that overflowed.
            self._send_unsubscriptions()
            self._send_subscriptions(self._filters)
            self._connected.set()
        self._inbox.put_nowait(Connected(bool(flags.session_present)))

    def _on_connect_fail(self, _client: mqtt.Client, _data: Any) -> None:
        # paho calls this while it handles the error, and does not hand it over.
        self._tell_down(connect_failure(sys.exc_info()[1], self._address))

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._connected.clear()
        if self._acknowledgements is not None:
            self._acknowledgements.close()
        self._tell_down(Disconnected(f"connection to {self._address} ended: {reason}"))

    def _tell_down(self, event: Disconnected) -> None:
        """Once for each time that the connection is down, not for each attempt; and once what waiting does not mend."""
        kind = "fault" if event.fault else "down"
        if kind not in self._told and (event.fault or not self._told):
            self._told.add(kind)
            self._inbox.put_nowait(event)

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        acknowledge = None
        if message.qos > 0 and self._acknowledgements is not None:
            acknowledge = self._acknowledgements.expect(message.mid)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            _log.warning("message refused: its topic is not UTF-8")
            if acknowledge is not None:
                acknowledge()
            return
        if not self._make_room(message.qos):
            return
        self._inbox.put_nowait(Received(topic, bytes(message.payload), message.retain, acknowledge))

    def _make_room(self, qos: int) -> bool:
        """Wait until the inbox has room, which slows the broker down; give up before either side thinks the other dead."""
        deadline = time.monotonic() + ROOM_LIMIT_S
        while not self._overflowed and self._inbox.qsize() >= self._capacity:
            if qos == 0:
                return False
            if time.monotonic() > deadline:
                _log.warning("%d messages wait and none is handled; the connection is reset", self._inbox.qsize())
                # What comes after the first that is not taken is not taken either, or the order would change.
                self._overflowed = True
                self._client.reset()
            time.sleep(0.005)
        return not self._overflowed

    def _on_subscribe(self, _client: mqtt.Client, _data: Any, _mid: int, reasons: list[Any], _properties: Any) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            _log.warning("%s refused %d subscriptions: %s", self._address, len(refused), ", ".join(sorted(set(refused))))

    def _send_subscriptions(self, filters: dict[str, int]) -> None:
        wanted = list(filters.items())
        for start in range(0, len(wanted), _FILTERS_PER_PACKET):
            packet = [(name, SubscribeOptions(qos=qos)) for name, qos in wanted[start : start + _FILTERS_PER_PACKET]]
            self._client.subscribe(packet)

    def _send_unsubscriptions(self) -> None:
        if self._unwanted:
            self._client.unsubscribe(sorted(self._unwanted))
            self._unwanted.clear()
