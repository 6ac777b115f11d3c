"""paho's client, made to survive: its network thread ends at the first exception and nobody notices."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import MQTTErrorCode

_log = logging.getLogger(__name__)
WAKE_S = 4.0
"""The network thread looks at its timers so often; what is sent or comes in wakes it at once. A wake costs battery."""


def guarded(callback: Callable[..., None]) -> Callable[..., None]:
    """Return the callback with every exception logged and kept from the network thread."""

    @wraps(callback)
    def call(*arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception:
            _log.exception("error while handling what the broker sent; it is ignored")

    return call


class ResilientClient(mqtt.Client):
    """A client whose network thread goes on after a malformed packet, with a new connection."""

    _ended = False

    def loop_forever(self, timeout: float = WAKE_S, retry_first_connection: bool = False) -> MQTTErrorCode:
        """As paho's, but exceptions end the connection instead of the thread."""
        while True:
            try:
                return super().loop_forever(timeout, retry_first_connection)
            except Exception as error:
                if self._ended:
                    return MQTTErrorCode.MQTT_ERR_SUCCESS
                _log.warning("malformed packet from the broker (%s: %s); reconnecting", type(error).__name__, error)
                self.reset()
                time.sleep(random.uniform(0.2, 1.0))

    def loop_start(self) -> MQTTErrorCode:
        """As paho's; also after `disconnect`."""
        self._ended = False
        return super().loop_start()

    def disconnect(self, *arguments: Any, **options: Any) -> MQTTErrorCode:
        """As paho's."""
        self._ended = True
        return super().disconnect(*arguments, **options)

    def reset(self) -> None:
        """Cut the connection, so that the network thread makes a new one."""
        connection = self.socket()
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
