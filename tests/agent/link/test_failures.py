"""A connection that fails says why, above all when the board's clock is to blame."""

from __future__ import annotations

import datetime
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from secateur_agent.link import BrokerAddress, Disconnected, Link
from secateur_agent.link.failures import connect_failure

LIMIT_S = 20.0
YEAR = datetime.timedelta(days=365)


def certificate(folder: Path, begins: datetime.timedelta, ends: datetime.timedelta, name: str = "localhost") -> Path:
    """A self-signed certificate and its key in one file; begin and end are counted from now."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path = folder / f"{name}.pem"
    path.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return path


Serve = Callable[[Path], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A function that starts a server which does TLS handshakes and nothing else; returns its port."""
    listeners: list[socket.socket] = []

    def start(path: Path) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except (OSError, ValueError):
                    connection.close()

        threading.Thread(target=run, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for each in listeners:
        each.shutdown(socket.SHUT_RDWR)
        each.close()


def first_events(port: int, ca_file: Path, count: int = 1) -> list[Disconnected]:
    inbox: queue.Queue[Any] = queue.Queue()
    address = BrokerAddress.parse(f"mqtts://localhost:{port}")
    link = Link("pi", "boot1", address, inbox, ca_file=ca_file, reconnect_s=(0.05, 0.1))
    link.start()
    try:
        return [inbox.get(timeout=LIMIT_S) for _ in range(count)]
    finally:
        link.stop()


def test_a_certificate_that_is_not_yet_valid_is_told_with_what_the_clock_says(serve: Serve, tmp_path: Path) -> None:
    """No clock chip: 1970, certificates "not yet valid" (iotedge#4062). Here the certificate is ahead."""
    path = certificate(tmp_path, YEAR, 2 * YEAR)
    (event,) = first_events(serve(path), path)
    assert event.fault
    year = datetime.datetime.now(datetime.timezone.utc).year
    assert f"its certificate is not yet valid: this board's clock says {year}-" in event.reason
    assert "Set the clock" in event.reason
    assert "\n" not in event.reason


def test_a_board_in_1970_says_1970() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = 9
    told = connect_failure(error, BrokerAddress.parse("mqtts://broker"), now=lambda: 12.0)
    assert "this board's clock says 1970-01-01 00:00:12 UTC" in told.reason


def test_an_expired_certificate_an_unknown_one_and_one_of_another_name_are_told(serve: Serve, tmp_path: Path) -> None:
    expired = certificate(tmp_path, -2 * YEAR, -YEAR)
    assert "its certificate has expired: this board's clock says" in first_events(serve(expired), expired)[0].reason
    other = certificate(tmp_path, -YEAR, YEAR, "elsewhere")
    assert "Hostname mismatch" in first_events(serve(other), other)[0].reason
    (tmp_path / "b").mkdir()
    unknown = certificate(tmp_path / "b", -YEAR, YEAR)
    (event,) = first_events(serve(unknown), other)
    assert "its certificate is refused: self" in event.reason


def test_a_fault_is_told_once_also_after_the_network_was_not_there(serve: Serve, tmp_path: Path) -> None:
    """At boot the network comes later than the agent: that must not hide what waiting does not mend."""
    path = certificate(tmp_path, YEAR, 2 * YEAR)
    inbox: queue.Queue[Any] = queue.Queue()
    link = Link("pi", "boot1", BrokerAddress.parse(f"mqtts://localhost:{serve(path)}"), inbox, ca_file=path)
    link._tell_down(Disconnected("cannot reach it"))
    for _ in range(3):
        link._tell_down(Disconnected("not yet valid", fault=True))
        link._tell_down(Disconnected("cannot reach it"))
    assert [inbox.get_nowait().reason for _ in range(2)] == ["cannot reach it", "not yet valid"]
    assert inbox.empty()


def test_an_outage_is_no_fault() -> None:
    told = connect_failure(ConnectionRefusedError(111, "Connection refused"), BrokerAddress.parse("mqtt://broker"))
    assert told == Disconnected("cannot reach mqtt://broker:1883; trying again")
    assert connect_failure(None, BrokerAddress.parse("mqtt://broker")) == told
