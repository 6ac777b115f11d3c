from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

from secateur.fleet.broker import BrokerError, main, start_embedded


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "secateur.fleet.broker", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_only_loopback_is_allowed() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        with pytest.raises(BrokerError, match="listens on loopback only"):
            start_embedded(host, 1883)
    with pytest.raises(BrokerError, match="give an IP address"):
        start_embedded("example", 1883)


def test_busy_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = run("--port", str(server.getsockname()[1]))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "Address already in use; stop what uses it or take another port" in result.stderr


def test_port_must_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "0"]) == 1
    assert "broker port 0: expected 1 to 65535" in capsys.readouterr().err


def test_a_broker_that_did_not_start_leaves_signals_as_they_were() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert main(["--port", "0"]) == 1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_sigterm_ends_it_and_frees_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for _ in range(2):
        command = [sys.executable, "-m", "secateur.fleet.broker", "--port", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == f"broker ready on mqtt://127.0.0.1:{port}\n"
        socket.create_connection(("127.0.0.1", port)).close()
        with pytest.raises(ConnectionRefusedError):
            # Loopback means this address, not the whole of 127/8.
            socket.create_connection(("127.0.0.2", port))
        process.terminate()
        assert process.wait(20) == 0
        process.stdout.close()
