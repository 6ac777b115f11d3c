"""The way to the host: the MQTT v5 connection, and the outbox that keeps telemetry on disk until it is acknowledged."""

from secateur_agent.link.broker import BrokerAddress, BrokerAddressError
from secateur_agent.link.client import Connected, Disconnected, Link, LinkError, Received
from secateur_agent.link.outbox import Outbox

__all__ = [
    "BrokerAddress",
    "BrokerAddressError",
    "Connected",
    "Disconnected",
    "Link",
    "LinkError",
    "Outbox",
    "Received",
]
