"""The controller's connection to the broker: connects again for ever, and never has more in flight than is allowed.

It relies on nothing that the broker may forget: desired shadows and open commands are published again on each connect,
telemetry is sent again until it is acknowledged, chunks are asked for again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import gmqtt
from gmqtt.mqtt.handler import MQTTConnectError
from gmqtt.storage import PersistentStorage

log = logging.getLogger("secateur.fleet")

_KEEPALIVE_S = 20
_CONNECT_LIMIT_S = 10.0
_MAX_BACKOFF_S = 15.0
_MAX_IN_FLIGHT = 60
_MAX_BULK_IN_FLIGHT = 16
_MAX_PENDING = 20_000


class BrokerUrlError(ValueError):
    """The address of a broker is not usable."""


class BrokerUrl(NamedTuple):
    """Where the broker is. ``tls`` is None for plain MQTT."""

    host: str
    port: int
    username: str
    password: str
    tls: ssl.SSLContext | None

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"

    @classmethod
    def parse(cls, url: str, password: str = "", ca_file: Path | None = None) -> BrokerUrl:
        """Parse ``mqtt://[user@]host[:1883]`` or ``mqtts://[user@]host[:8883]``.

        Raises:
            BrokerUrlError: if it is something else, has a password in it, or the CA file cannot be used.
        """
        shape = "expected mqtt://[user@]host[:port] or mqtts://…"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise BrokerUrlError(f"broker {url!r}: {shape}") from None
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise BrokerUrlError(f"broker {url!r}: {shape}")
        if parts.password is not None:
            raise BrokerUrlError("broker: a password in the URL shows in process lists; use --password-file")
        secure, tls = parts.scheme == "mqtts", None
        if secure:
            try:
                tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
            except OSError as error:
                raise BrokerUrlError(f"CA file {ca_file}: {error}") from None
        return cls(parts.hostname, port or (8883 if secure else 1883), parts.username or "", password, tls)


class _InFlight(PersistentStorage):  # type: ignore[misc]
    """gmqtt's store of unacknowledged messages, which tells when one was acknowledged."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        super().__init__()
        self._on_change = on_change

    def count(self) -> int:
        """How many there are. Not ``__len__``: gmqtt takes a store that is false for none at all."""
        return len(self._messages)

    def remove_message_by_mid(self, mid: int) -> None:
        super().remove_message_by_mid(mid)
        self._on_change()


class Session:
    """An MQTT v5 session. All methods belong to the event loop that runs `run`."""

    def __init__(
        self,
        address: BrokerUrl,
        client_id: str,
        filters: Sequence[str],
        on_message: Callable[[str, bytes], None],
        on_connect: Callable[[], None],
    ) -> None:
        """
        Args:
            address: the broker.
            client_id: the same after each restart, so that the broker drops the connection of a host that was killed.
            filters: what to subscribe to.
            on_message: called with topic and payload.
            on_connect: called after each connect.
        """
        self.address = address
        self.connected = False
        self.published_bytes = 0
        self._client_id = client_id
        self._filters = filters
        self._on_message = on_message
        self._on_connect = on_connect
        self._client: Any = None
        self._in_flight: _InFlight | None = None
        self.window = self._bulk_window = 1
        self._lost = asyncio.Event()
        self._room = asyncio.Event()
        self._pending: deque[tuple[str, bytes, int, bool, int | None]] = deque()

    async def run(self) -> None:
        """Connect, stay connected, connect again; ends only by cancellation."""
        attempt = 0
        try:
            while True:
                reason = await self._connect()
                if not reason:
                    log.info("broker %s: connected", self.address)
                    attempt = 0
                    await self._lost.wait()
                    reason = "connection lost"
                self.connected = False
                self._pending.clear()
                self._room.set()
                if attempt in (0, 5) or attempt % 60 == 0:
                    log.warning("broker %s: %s; trying again until it answers", self.address, reason)
                await asyncio.sleep(min(_MAX_BACKOFF_S, 0.25 * 2 ** min(attempt, 8)) * random.uniform(0.7, 1.3))
                attempt += 1
        finally:
            await self._close()

    def send(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: float | None = None) -> bool:
        """Publish a control message, in order, as soon as the window allows.

        Returns:
            False if there is no connection or too much waits; what must arrive is sent again after the next connect.
        """
        if not self.connected or len(self._pending) >= _MAX_PENDING:
            return False
        self._pending.append((topic, payload, qos, retain, None if expiry_s is None else max(1, int(expiry_s))))
        self._pump()
        return True

    async def send_bulk(self, topic: str, payload: bytes, *, qos: int) -> bool:
        """Publish a chunk once control messages have gone and the window for chunks has room.

        Returns:
            False if the connection went away.
        """
        while self.connected and (self._pending or self.unacknowledged >= self._bulk_window):
            self._room.clear()
            await self._room.wait()
        return self.connected and self._publish(topic, payload, qos, False, None)

    @property
    def unacknowledged(self) -> int:
        """How many messages the broker has not acknowledged yet."""
        return self._in_flight.count() if self._in_flight is not None else 0

    def _pump(self) -> None:
        while self._pending and self.connected and self.unacknowledged < self.window:
            self._publish(*self._pending.popleft())
        self._room.set()

    def _publish(self, topic: str, payload: bytes, qos: int, retain: bool, expiry_s: int | None) -> bool:
        properties = {} if expiry_s is None else {"message_expiry_interval": expiry_s}
        try:
            self._client.publish(topic, payload, qos=qos, retain=retain, **properties)
        except Exception as error:  # gmqtt raises what its transport raises
            log.warning("broker %s: publish failed: %s", self.address, error)
            return False
        self.published_bytes += len(payload)
        return True

    async def _connect(self) -> str:
        """Try once; return '' or why it failed."""
        await self._close()
        self._lost = asyncio.Event()
        self._in_flight = _InFlight(self._pump)
        client = gmqtt.Client(
            self._client_id,
            # A clean start makes the broker send everything retained, which is the truth about each device. Not every
            # broker does so for a session that it kept (iotcore), and a message acknowledged to the broker but not yet
            # on disk when the host is killed would be lost otherwise.
            clean_session=True,
            persistent_storage=self._in_flight,
            logger=logging.getLogger("gmqtt"),
        )
        # A new client each time: gmqtt's own reconnect never frees the packet ids of a session that the broker forgot.
        client.set_config({"reconnect_retries": -2})
        if self.address.username:
            client.set_auth_credentials(self.address.username, self.address.password)
        client.on_message = self._received
        client.on_connect = self._accepted
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscribed
        self._client = client
        try:
            await asyncio.wait_for(
                client.connect(self.address.host, self.address.port, ssl=self.address.tls or False, keepalive=_KEEPALIVE_S),
                _CONNECT_LIMIT_S,
            )
        except asyncio.TimeoutError:
            return f"no answer within {_CONNECT_LIMIT_S:g} s"
        except (OSError, MQTTConnectError) as error:
            return getattr(error, "strerror", None) or str(error)
        return ""

    def _accepted(self, client: Any, _session_present: int, _code: int, properties: Any) -> None:
        if client is not self._client:
            return
        # Beyond the broker's Receive Maximum (mosquitto: 20) gmqtt has no packet ids left; one goes to the subscription.
        allowed = int((properties.get("receive_maximum") or [65535])[0])
        self.window = max(1, min(_MAX_IN_FLIGHT, allowed - 3))
        self._bulk_window = max(1, min(_MAX_BULK_IN_FLIGHT, self.window - self.window // 4))
        client.subscribe([gmqtt.Subscription(topic, qos=1) for topic in self._filters])
        self.connected = True
        self._on_connect()
        self._pump()

    def _subscribed(self, _client: Any, _packet_id: int, granted: Sequence[int], _properties: Any) -> None:
        if any(code >= 0x80 for code in granted):
            log.error("broker %s: refuses our subscription (reason %s); check its access rules", self.address, granted)

    def _received(self, _client: Any, topic: Any, payload: bytes, _qos: int, _properties: Any) -> int:
        self._on_message(topic if isinstance(topic, str) else repr(topic), payload)
        return 0

    def _disconnected(self, client: Any, _packet: Any, _error: Any = None) -> None:
        if client is self._client:
            self.connected = False
            self._room.set()
            self._lost.set()

    async def _close(self) -> None:
        client, self._client, self.connected = self._client, None, False
        if client is not None:
            with contextlib.suppress(Exception):  # it may never have connected
                await asyncio.wait_for(client.disconnect(), 2.0)
