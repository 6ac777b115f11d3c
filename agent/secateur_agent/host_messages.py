"""What comes from the host: each message verified, handed to whom it is for, and acknowledged when that is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from secateur_agent.link.events import Received
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import Ack, Answer, Desired, MessageError, decode
from secateur_agent.shadow_state import DesiredShadow, ShadowError
from secateur_agent.store import StoreError


class Handlers(Protocol):
    """Who acts on what the host says."""

    def on_desired(self, desired: Desired) -> None:
        """A new desired shadow was verified and kept."""

    def on_ack(self, ack: Ack) -> None:
        """The host stored samples."""

    def on_answer(self, ask_id: str, answer: Answer) -> None:
        """The host answered an ask."""

    def on_command(self, command_id: str, payload: bytes) -> None:
        """A command came; it is not verified yet."""

    def on_chunk(self, sha256: str, index: int, data: bytes) -> None:
        """A chunk came; it is not verified yet."""


class HostMessages:
    """Takes messages apart.

    Args:
        device: the id of this device.
        shadow: verifies and keeps desired shadows.
        handlers: who acts.
        fault: told, in one line, what was refused.
    """

    def __init__(self, device: str, shadow: DesiredShadow, handlers: Handlers, fault: Callable[[str], object]) -> None:
        self._device = device
        self._shadow = shadow
        self._handlers = handlers
        self._fault = fault

    def take(self, message: Received) -> None:
        """Handle one message. It is acknowledged when what it says is on disk, or is refused for good."""
        try:
            self._dispatch(message)
        except (topics.TopicError, MessageError, ShadowError) as error:
            self._fault(f"message refused: {error}")
        except StoreError as error:
            # Not acknowledged: the broker brings it again, when the disk may have room.
            self._fault(f"message not taken: {error}")
            return
        message.acknowledge()

    def _dispatch(self, message: Received) -> None:
        if not message.payload and not message.topic.startswith(f"{topics.ROOT}/b/"):
            return  # a retained message was cleared
        to = topics.parse_down(self._device, message.topic)
        if to.kind == "shadow":
            desired = self._shadow.accept(message.payload)
            if desired is not None:
                self._handlers.on_desired(desired)
        elif to.kind == "ack":
            self._handlers.on_ack(decode(message.payload, Ack, "acknowledgement"))
        elif to.kind == "answer":
            self._handlers.on_answer(to.key, decode(message.payload, Answer, "answer"))
        elif to.kind == "cmd":
            self._handlers.on_command(to.key, message.payload)
        else:
            self._handlers.on_chunk(to.key, to.number, message.payload)
