"""What to time of a pack, and what came of it. The supervisor imports this: neither numpy nor a runtime here."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from secateur_agent.profiling.pack import MAX_FILES
from secateur_agent.protocol.messages import Positive
from secateur_agent.protocol.timings import Conditions, FileTiming


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Time these files of a pack in turns.

    Attributes:
        pack: its file.
        indexes: of the files, in the pack's order.
        scratch: a folder where files may be written; each is removed again.
        providers: execution providers, the preferred one first.
        sysfs_root: the folder that holds ``proc`` and ``sys``.
        throttle_c: the temperature from which the board slows down.
        time_limit_s: no round begins after this time.
    """

    pack: str
    indexes: Annotated[tuple[int, ...], Meta(min_length=1, max_length=MAX_FILES)]
    scratch: str
    providers: tuple[str, ...] = ()
    sysfs_root: str = "/"
    throttle_c: float = 200.0
    time_limit_s: Positive = 300.0


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """Times of the files, or why there are none at all. ``slowed``: why they may be slower than the board is."""

    ok: bool
    error: str = ""
    timings: tuple[FileTiming, ...] = ()
    machine: str = ""
    conditions: Conditions = Conditions()
    slowed: str = ""
