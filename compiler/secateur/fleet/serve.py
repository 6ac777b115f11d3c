"""Runs the host: controller, REST API and re-prune service in one process."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from secateur.bundle.keys import Keys
from secateur.fleet.admission import Policy
from secateur.fleet.api import create_app
from secateur.fleet.controller import Controller
from secateur.fleet.host_file import Host, ensure_token, remove_host, write_host
from secateur.fleet.publisher import GATHER_S
from secateur.fleet.session import BrokerUrl

log = logging.getLogger("secateur.fleet")


class ServeError(ValueError):
    """The host cannot start as asked."""


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: this process has one way to end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening_socket(listen: str) -> socket.socket:
    """Bind a TCP socket.

    Args:
        listen: ``host:port``; port 0 takes a free one. The host is an IP address.

    Raises:
        ServeError: if it is something else, or the port is in use.
    """
    host, _, port = listen.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        number = int(port)
        if not 0 <= number <= 65535:
            raise ValueError
    except ValueError:
        raise ServeError(f"--listen {listen!r}: expected an IP address and a port, such as 127.0.0.1:8700") from None
    if not address.is_loopback:
        log.warning("--listen %s: not a loopback address; whoever has the token controls the fleet, without TLS", listen)
    found = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((str(address), number))
        found.listen(128)
    except OSError as error:
        found.close()
        raise ServeError(f"--listen {listen}: {error.strerror}; stop what uses it or take another port") from None
    return found


async def serve(
    state: Path,
    keys: Keys,
    address: BrokerUrl,
    listen: str,
    *,
    bytes_per_s: float = 0.0,
    gather_s: float = GATHER_S,
    enrolment: Policy = "open",
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Run the host until SIGTERM or SIGINT. A broker that cannot be reached is tried again for ever.

    Args:
        state: folder of all that the host keeps; created if need be.
        keys: the signing keys.
        address: the broker.
        listen: ``host:port`` of the REST API.
        bytes_per_s: cap on published chunks; 0 for none.
        gather_s: how long a broadcast waits for all its devices.
        enrolment: whether a device without a token is trusted on first use.
        on_ready: called with the URL of the API once it answers.

    Raises:
        ServeError: if the port is in use, or the state folder cannot be used or is used by another host.
    """
    with _locked(state), listening_socket(listen) as listener:
        token = ensure_token(state)
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        controller = Controller(state, keys, address, bytes_per_s=bytes_per_s, gather_s=gather_s, enrolment=enrolment)
        config = uvicorn.Config(
            create_app(controller, token),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
            lifespan="off",
        )
        server = _Server(config)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            server.should_exit = True
            controller.end_streams()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        try:
            async with controller.running():
                serving = asyncio.create_task(server.serve(sockets=[listener]))
                while not server.started and not serving.done():
                    await asyncio.sleep(0.01)
                if server.started:
                    write_host(state, Host(url, token))
                    on_ready(url)
                await serving
        finally:
            remove_host(state)


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Keep a second host out of the same state folder; the lock ends with the process, however it ends."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (state / "lock").open("w")
    except OSError as error:
        raise ServeError(f"state folder {state}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ServeError(f"state folder {state}: another 'secateur serve' uses it") from None
        yield
