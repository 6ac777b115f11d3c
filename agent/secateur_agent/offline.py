"""The link of a device without a broker: everything is refused politely, nothing arrives."""

from __future__ import annotations

from typing import Protocol


class AnyLink(Protocol):
    """What the supervisor needs of a link."""

    @property
    def connected(self) -> bool: ...

    def start(self) -> None: ...

    def stop(self, state: str = "disconnected") -> None: ...

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> bool: ...

    def subscribe(self, *filters: str, qos: int = 1) -> None: ...

    def unsubscribe(self, *filters: str) -> None: ...


class NoBroker:
    """A link that is never connected."""

    connected = False

    def start(self) -> None:
        """Do nothing."""

    def stop(self, state: str = "disconnected") -> None:
        """Do nothing."""

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> bool:
        """Refuse."""
        return False

    def subscribe(self, *filters: str, qos: int = 1) -> None:
        """Do nothing."""

    def unsubscribe(self, *filters: str) -> None:
        """Do nothing."""
