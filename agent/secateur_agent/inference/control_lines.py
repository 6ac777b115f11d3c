"""Reads the control channel line by line, and never a byte more: what follows belongs to the worker's successor."""

from __future__ import annotations

import socket

from secateur_agent.inference.control import MAX_LINE_BYTES

_PEEK_BYTES = 1 << 16


def read_line(control: socket.socket) -> bytes:
    """Wait for the next line and take it out of the socket.

    Args:
        control: a stream socket.

    Returns:
        The line with its newline; a piece of more than `MAX_LINE_BYTES` of a line that is longer; empty at the end of the
        channel, be it in the middle of a line.

    Raises:
        OSError: if the channel is broken.
    """
    line = b""
    while len(line) <= MAX_LINE_BYTES and not line.endswith(b"\n"):
        seen = control.recv(_PEEK_BYTES, socket.MSG_PEEK)
        if not seen:
            return b""
        line += control.recv(seen.find(b"\n") + 1 or len(seen))
    return line
