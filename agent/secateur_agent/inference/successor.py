"""A worker puts a new image of itself in its own place (``execve``), so that all its memory goes back to the system.

The process, its id, its listening socket, its control channel and its open connections stay; the heap, the runtime and the
rung are gone. Whatever clients send meanwhile waits in the sockets.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, NoReturn

import msgspec
from msgspec import Meta

from secateur_agent.inference.control import LoadRung

_Count = Annotated[int, Meta(ge=0)]


class Legacy(msgspec.Struct, frozen=True, kw_only=True):
    """What a process image leaves to the next one."""

    load: LoadRung
    """The rung to load at once."""
    connections: tuple[_Count, ...]
    """File descriptors of open connections, each between two requests."""
    requests: _Count
    failed_requests: _Count
    inferences: _Count
    held_since_s: float
    """When the last image stopped accepting requests, on the monotonic clock."""
    rss_before_mb: float | None
    """Its resident memory before that."""


def succeed(arguments: Sequence[str], legacy: Legacy, inherited: Iterable[int]) -> NoReturn:
    """Put a new worker in this one's place. Call it in the main thread: the new image runs with that thread's priority.

    If that is not possible the process ends, and the supervisor starts another one.

    Args:
        arguments: of this worker; those that say how it begins are left out.
        legacy: what the new one begins with.
        inherited: file descriptors of sockets that ``arguments`` name.
    """
    try:
        for descriptor in (*inherited, *legacy.connections):
            os.set_inheritable(descriptor, True)
        text = msgspec.json.encode(legacy).decode()
        own = (sys.executable, "-m", "secateur_agent.inference.worker")
        os.execv(own[0], [*own, *arguments, "--legacy", text])
    except OSError as error:
        print(f"secateur-agent: worker: it cannot be replaced in place: {error.strerror}; it ends", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)


def adopted(legacy: Legacy) -> list[socket.socket]:
    """Return the connections of a legacy as sockets."""
    connections = []
    for descriptor in legacy.connections:
        connection = socket.socket(fileno=descriptor)
        connection.set_inheritable(False)
        connections.append(connection)
    return connections
