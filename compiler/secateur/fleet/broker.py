"""The embedded MQTT v5 broker (iotcore), for one machine and for demonstrations: loopback only.

Run it alone with ``python -m secateur.fleet.broker --port 1883``, or in this process with `start_embedded` or
`run_embedded`. It keeps nothing on disk: retained messages, sessions and queued messages are gone after a restart, so
every peer publishes its retained messages again when it connects.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

from iotcore import IotCoreBroker

MAX_PAYLOAD_BYTES = 2 << 20
_READY_LIMIT_S = 10.0
_ENDING = {signal.SIGTERM, signal.SIGINT}

# iotcore's own arguments make an MQTT 3.1.1 listener on all interfaces; v5 needs a configuration file. Segments bound
# the memory that each topic filter may take.
_CONFIG = """
id = 0

[router]
id = 0
max_connections = 10000
max_outgoing_packet_count = 200
max_segment_size = 4194304
max_segment_count = 8

[v5.1]
name = "secateur"
listen = {listen}
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = {max_payload_bytes}
max_inflight_count = 100
dynamic_filters = true
"""


class BrokerError(ValueError):
    """The embedded broker cannot be started as asked."""


def start_embedded(host: str = "127.0.0.1", port: int = 1883) -> None:
    """Start the broker in threads of this process and return when it accepts connections. It lives until the process ends.

    Args:
        host: a loopback address.
        port: TCP port, not 0.

    Raises:
        BrokerError: if the address is not a loopback address, the port is in use, or the broker does not come up.
    """
    _check(host, port)
    # rumqttd reports each packet as an error-level span.
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with tempfile.TemporaryDirectory(prefix="secateur-broker-") as folder:
        config = Path(folder) / "broker.toml"
        config.write_text(_CONFIG.format(listen=json.dumps(listen), max_payload_bytes=MAX_PAYLOAD_BYTES))
        IotCoreBroker(config_path=str(config)).start()
        deadline = time.monotonic() + _READY_LIMIT_S
        while not _accepts(host, port):
            if time.monotonic() > deadline:
                raise BrokerError(f"broker {listen}: did not accept connections within {_READY_LIMIT_S:g} s")
            time.sleep(0.02)


def _check(host: str, port: int) -> None:
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise BrokerError(f"broker host {host!r}: give an IP address such as 127.0.0.1") from None
    if not loopback:
        raise BrokerError(
            f"broker host {host}: the embedded broker has no access control and listens on loopback only; "
            "for other machines run mosquitto or another MQTT v5 broker and give its URL"
        )
    if not 1 <= port <= 65535:
        raise BrokerError(f"broker port {port}: expected 1 to 65535")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BrokerError(f"broker {host}:{port}: {error.strerror}; stop what uses it or take another port") from None


def _accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def run_embedded(host: str, port: int) -> None:
    """Run the broker until SIGTERM or SIGINT, and say in one line when it is ready.

    Its threads cannot be stopped: end the process after it.

    Raises:
        BrokerError: as `start_embedded`; the process then handles signals as before.
    """
    # Blocked before the broker's threads exist, so that only sigwait gets them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        start_embedded(host, port)
        print(f"broker ready on mqtt://{host}:{port}", flush=True)
        signal.sigwait(_ENDING)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def main(arguments: list[str] | None = None) -> int:
    """Run the broker; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m secateur.fleet.broker", description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=1883, help="TCP port (default %(default)s)")
    options = parser.parse_args(arguments)
    try:
        run_embedded(options.host, options.port)
    except BrokerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
