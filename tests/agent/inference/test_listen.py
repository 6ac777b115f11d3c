"""The listening socket: addresses, busy ports, permissions."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from secateur_agent.inference.listen import ListenError, endpoint, listening_socket


def test_port_zero_takes_a_free_port_and_the_endpoint_names_it() -> None:
    with listening_socket("127.0.0.1:0") as listening:
        port = listening.getsockname()[1]
        assert port > 0
        assert endpoint(listening) == f"http://127.0.0.1:{port}"
        with socket.create_connection(("127.0.0.1", port)):
            pass


def test_a_busy_port_is_one_clear_line() -> None:
    with listening_socket("127.0.0.1:0") as listening:
        port = listening.getsockname()[1]
        with pytest.raises(ListenError, match=f"listen '127.0.0.1:{port}': in use by another process; choose") as error:
            listening_socket(f"127.0.0.1:{port}")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("spec", ["", "8000", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000", ":80", "unix:"])
def test_a_malformed_address_is_refused(spec: str) -> None:
    with pytest.raises(ListenError, match="listen "):
        listening_socket(spec)


def test_an_address_of_another_machine_is_one_clear_line() -> None:
    with pytest.raises(ListenError, match=r"listen '192\.0\.2\.1:0': "):
        listening_socket("192.0.2.1:0")


def test_a_unix_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with listening_socket(f"unix:{path}") as listening:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert endpoint(listening) == f"unix:{path}"


def test_a_unix_socket_left_by_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    spec = f"unix:{tmp_path / 'agent.sock'}"
    listening_socket(spec).close()
    listening_socket(spec).close()


def test_a_unix_socket_in_use_is_refused(tmp_path: Path) -> None:
    spec = f"unix:{tmp_path / 'agent.sock'}"
    with listening_socket(spec), pytest.raises(ListenError, match="in use by another process"):
        listening_socket(spec)


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("mine")
    with pytest.raises(ListenError, match="no socket"):
        listening_socket(f"unix:{path}")
    assert path.read_text() == "mine"
