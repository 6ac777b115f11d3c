"""The certificates of the broker: what boards accept, and when they are made anew."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509

from secateur.fleet.certificates import (
    CA_DAYS,
    SERVER_DAYS,
    CertificateError,
    checked_address,
    checked_name,
    ensure_ca,
    ensure_server,
    read_certificate,
)

NOW = datetime.datetime(2026, 11, 26, tzinfo=datetime.timezone.utc)
NAMES, ADDRESSES = ("broker.local", "localhost"), ("192.168.1.10", "::1")


def days(count: float) -> datetime.timedelta:
    return datetime.timedelta(days=count)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert ensure_ca(tmp_path, NOW)
    assert ensure_server(tmp_path, NAMES, ADDRESSES, NOW)
    return tmp_path


def handshake(folder: Path, name: str, ca: Path) -> None:
    """Do TLS with the server's certificate, as strictly as Python 3.13 does."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem", folder / "server.key")
    client = ssl.create_default_context(cafile=str(ca))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(there, server_side=True).close()
        except OSError:
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client.wrap_socket(here, server_hostname=name).close()
    finally:
        here.close()
        thread.join()


def test_the_server_is_trusted_under_each_of_its_names_and_no_other(folder: Path) -> None:
    for name in (*NAMES, *ADDRESSES):
        handshake(folder, name, folder / "ca.pem")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(folder, "elsewhere.local", folder / "ca.pem")


def test_a_board_without_a_clock_does_not_find_them_not_yet_valid(folder: Path) -> None:
    """No clock chip: 1970, certificates "not yet valid" (iotedge#4062)."""
    for name in ("ca.pem", "server.pem"):
        assert read_certificate(folder / name).not_valid_before_utc.timestamp() == 0


def test_keys_are_for_their_owner_alone(folder: Path) -> None:
    for name in ("ca.key", "server.key"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600


def test_nothing_is_made_anew_without_a_reason(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert not ensure_ca(folder, NOW + days(100))
    assert not ensure_server(folder, NAMES[::-1], ADDRESSES, NOW + days(100))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_server_certificate_is_made_anew_for_other_names_and_near_its_end(folder: Path) -> None:
    assert ensure_server(folder, (*NAMES, "other.local"), ADDRESSES, NOW)
    assert ensure_server(folder, NAMES, ADDRESSES, NOW)
    assert ensure_server(folder, NAMES, ADDRESSES, NOW + days(SERVER_DAYS - 100))
    handshake(folder, "broker.local", folder / "ca.pem")


def test_a_new_certificate_of_the_ca_has_the_same_key_so_devices_go_on_with_the_old(folder: Path, tmp_path: Path) -> None:
    old = tmp_path / "ca-of-the-device.pem"
    old.write_bytes((folder / "ca.pem").read_bytes())
    assert ensure_ca(folder, NOW + days(CA_DAYS - 100))
    assert read_certificate(folder / "ca.pem").not_valid_after_utc > read_certificate(old).not_valid_after_utc
    ensure_server(folder, ("new.local",), (), NOW)
    handshake(folder, "new.local", old)
    handshake(folder, "new.local", folder / "ca.pem")


def test_a_server_certificate_of_another_ca_or_key_is_made_anew(folder: Path, tmp_path: Path) -> None:
    (folder / "ca.key").unlink()
    (folder / "ca.pem").unlink()
    assert ensure_ca(folder, NOW)
    assert ensure_server(folder, NAMES, ADDRESSES, NOW)
    key = (folder / "server.key").read_bytes()
    ensure_server(folder, ("x.local",), (), NOW)
    (folder / "server.key").write_bytes(key)  # a power cut between the two files
    assert ensure_server(folder, ("x.local",), (), NOW)
    handshake(folder, "x.local", folder / "ca.pem")


def test_the_ca_signs_servers_and_no_other_ca(folder: Path) -> None:
    ca = read_certificate(folder / "ca.pem")
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    server = read_certificate(folder / "server.pem")
    assert not server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize("name", ["ca.key", "ca.pem", "server.pem", "server.key"])
@pytest.mark.parametrize("content", [b"", bytes(500), b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_damaged_file_is_one_line_that_names_it(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)

    def configure() -> None:
        ensure_ca(folder, NOW)
        ensure_server(folder, NAMES, ADDRESSES, NOW)

    with pytest.raises(CertificateError, match="damaged") as refused:
        configure()
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_ca_whose_key_is_gone_is_not_replaced_by_itself(folder: Path) -> None:
    """Every device trusts the old one."""
    (folder / "ca.key").unlink()
    with pytest.raises(CertificateError, match=r"missing.*restore it"):
        ensure_ca(folder, NOW)


@pytest.mark.parametrize("name", ["", "a b", "-x", "x\n", "*", "ä.local", "a..b", "x" * 64, "1.2.3.4/24"])
def test_what_is_no_name_or_address_is_refused(name: str) -> None:
    with pytest.raises(CertificateError, match="expected a host name"):
        checked_name(name)
    with pytest.raises(CertificateError, match="expected an address"):
        checked_address(name)
