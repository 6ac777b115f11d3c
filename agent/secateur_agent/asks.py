"""What the device asks the host for: chunks that are missing, and rungs that the ladder lacks."""

from __future__ import annotations

from secateur_agent.offline import AnyLink
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import Ask, AskChunks, AskReprune, encode


class Asks:
    """Publishes asks, each under an id of its own.

    Args:
        device: the id of this device.
        boot: the id of this start; makes the ids of asks differ from those of the start before.
        link: where to.
    """

    def __init__(self, device: str, boot: str, link: AnyLink) -> None:
        self._device = device
        self._boot = boot
        self._link = link
        self._count = 0

    def chunks(self, ask: AskChunks) -> None:
        """Ask for chunks; while there is no connection nothing is asked, for the timer asks again."""
        if self._link.connected:
            self._publish(ask)

    def reprune(self, ask: AskReprune) -> None:
        """Ask for a rung; without a connection the question waits for it."""
        self._publish(ask)

    def _publish(self, ask: Ask) -> None:
        self._count += 1
        self._link.publish(topics.ask(self._device, f"{self._boot}-{self._count}"), encode(ask))
