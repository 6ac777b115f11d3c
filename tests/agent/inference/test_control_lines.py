"""The control channel is read line by line, and what follows a line stays in it."""

from __future__ import annotations

import socket
import threading

from hypothesis import given
from hypothesis import strategies as st

from secateur_agent.inference.control import MAX_LINE_BYTES
from secateur_agent.inference.control_lines import read_line


@given(st.lists(st.binary(max_size=50).map(lambda line: line.replace(b"\n", b" ") + b"\n"), min_size=1, max_size=5))
def test_nothing_beyond_the_line_is_taken(lines: list[bytes]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"".join(lines))
        assert read_line(ours) == lines[0]
        rest = b"".join(lines[1:])
        assert not rest or ours.recv(4096) == rest


def test_a_line_that_comes_in_pieces_is_waited_for() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"begun")
        sender = threading.Timer(0.05, theirs.sendall, (b" and ended\nnext",))
        sender.start()
        assert read_line(ours) == b"begun and ended\n"
        sender.join()
        assert ours.recv(10) == b"next"


def test_an_overlong_line_comes_in_pieces_and_the_end_is_empty() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        sender = threading.Thread(target=lambda: (theirs.sendall(b"x" * (MAX_LINE_BYTES + (1 << 17))), theirs.close()))
        sender.start()
        assert len(read_line(ours)) > MAX_LINE_BYTES
        assert read_line(ours) == b""
        sender.join()
