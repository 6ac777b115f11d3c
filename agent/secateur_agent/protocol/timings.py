"""What a device says of files that it was told to time; part of protocol version 1, see ``docs/protocol.md``."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from secateur_agent.protocol.messages import Count, Message, Positive, Text


class Conditions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Heat and clock while something was measured; None is what the board does not tell."""

    temperature_c: float | None = None
    cpu_freq_mhz: float | None = None
    cpu_freq_limit_mhz: float | None = None
    throttled: bool | None = None


class FileTiming(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The times of one file of a pack, or why it has none. ``slowed``: the board was throttled meanwhile."""

    file: Annotated[int, Meta(ge=0, lt=256)]
    p50_ms: Positive | None = None
    p95_ms: Positive | None = None
    slowed: bool = False
    error: Annotated[str, Meta(max_length=200)] = ""


class PackTimings(Message, frozen=True):
    """``result`` of a command ``measure`` with a pack: all that was timed of it so far, also while it is executing."""

    total: Count
    runtime_version: Annotated[str, Meta(max_length=100)]
    machine: Annotated[str, Meta(max_length=400)] = ""
    timings: Annotated[tuple[FileTiming, ...], Meta(max_length=256)] = ()
    slowed: Text = ""
    conditions: Conditions = Conditions()
