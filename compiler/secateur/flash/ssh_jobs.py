"""What flashing over SSH is given and gives back, board by board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from secateur.flash.payload import Payload
from secateur.flash.ssh_address import Address
from secateur.flash.target import Target

AT_ONCE = 4
"""Boards at the same time."""

PayloadFor = Callable[[str, Target, bool], Payload]
"""From a device id, its system, and whether it is that device already, to what the board gets; called one at a time, outside
the event loop."""
Told = Callable[[str, str], None]
"""Told the device and what happens to it."""


@dataclass(frozen=True)
class Job:
    """One board: where it is and what its id shall be."""

    address: Address
    device: str


class Outcome(msgspec.Struct, frozen=True):
    """How it went. ``problem`` is '' if the setup program says that all is well."""

    job: Job
    text: str = ""
    problem: str = ""
    system: str = ""
    sent_bytes: int = 0
    host_key: str = ""
