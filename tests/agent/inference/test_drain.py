from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import waitress

from secateur_agent.inference.drain import DrainingChannel, DrainingLoop


class Server:
    """A draining server of one thread whose application answers when told to."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.entered = threading.Event()
        self.listening = socket.create_server(("127.0.0.1", 0))
        server = waitress.create_server(self.application, sockets=[self.listening.dup()], threads=1)
        server.channel_class = DrainingChannel
        self.loop = DrainingLoop(server)
        self.left: list[socket.socket] | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.left = self.loop.run()

    def application(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.entered.set()
        assert self.answer.wait(20)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    def connect(self) -> socket.socket:
        return socket.create_connection(self.listening.getsockname(), timeout=20)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.answer.set()
    running.loop.end()
    running.thread.join(20)
    running.listening.close()


REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    data = b""
    while part := connection.recv(4096):
        data += part
    return data


def test_requests_that_run_wait_or_are_half_sent_are_answered_and_their_connections_closed(server: Server) -> None:
    running, waiting, half = server.connect(), server.connect(), server.connect()
    running.sendall(REQUEST)
    assert server.entered.wait(20)
    waiting.sendall(REQUEST)
    half.sendall(REQUEST[:9])
    deadline_s = time.monotonic() + 20
    channels = server.loop._server.active_channels
    while sum(bool(c.requests or c.request) for c in list(channels.values())) < 3:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    server.loop.end()
    half.sendall(REQUEST[9:])
    server.answer.set()
    for connection in (running, waiting, half):
        response = read_all(connection)
        assert response.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in response.lower()
        connection.close()
    server.thread.join(20)
    assert not server.thread.is_alive()


def test_an_idle_connection_does_not_delay_the_end(server: Server) -> None:
    server.answer.set()
    with server.connect() as idle:
        idle.sendall(REQUEST)
        assert idle.recv(4096)
        server.loop.end()
        server.thread.join(20)
        assert not server.thread.is_alive()


def test_a_connection_that_comes_too_late_waits_for_the_next_server(server: Server) -> None:
    server.loop.end()
    server.thread.join(20)
    with server.connect() as late:
        late.sendall(REQUEST)
        accepted, _ = server.listening.accept()
        with accepted:
            assert accepted.recv(4096) == REQUEST


def test_connections_that_are_handed_over_stay_open_and_keep_what_comes_meanwhile(server: Server) -> None:
    running, idle = server.connect(), server.connect()
    server.answer.set()
    idle.sendall(REQUEST)
    assert idle.recv(4096).startswith(b"HTTP/1.1 200")
    server.answer.clear()
    server.entered.clear()
    running.sendall(REQUEST)
    assert server.entered.wait(20)
    server.loop.hand_over()
    assert not any(channel.readable() for channel in server.loop._server.active_channels.values())
    server.answer.set()
    response = running.recv(4096)
    assert response.startswith(b"HTTP/1.1 200")
    assert b"connection: close" not in response.lower()
    server.thread.join(20)
    assert server.left is not None
    idle.sendall(REQUEST)
    waiting = {left.getpeername(): left for left in server.left}
    assert waiting.keys() == {running.getsockname(), idle.getsockname()}
    assert waiting[idle.getsockname()].recv(4096) == REQUEST
    for connection in (running, idle, *server.left):
        connection.close()


def test_whoever_tells_it_to_end_gets_the_last_word(server: Server) -> None:
    with server.connect() as running:
        running.sendall(REQUEST)
        assert server.entered.wait(20)
        server.loop.hand_over()
        server.loop.end()
        server.loop.hand_over()
        server.answer.set()
        assert b"connection: close" in read_all(running).lower()
    server.thread.join(20)
    assert not server.thread.is_alive()
    assert server.left is None
