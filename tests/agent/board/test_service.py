"""What is asked of systemd and of the agent, each a real program that answers as given."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from secateur_agent.board import service
from secateur_agent.board.errors import SetupError
from secateur_agent.board.layout import Layout


def answering(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def ready() -> Iterator[int]:
    """A server that says that it is ready; its port."""

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Silent."""

    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def healthy(layout: Layout, monkeypatch: pytest.MonkeyPatch, status: dict[str, object]) -> str:
    """Wait for a service that is active, whose agent says this of itself."""
    answering(layout.current / "bin/python", f"echo '{json.dumps(status)}'")
    monkeypatch.setattr(service, "is_systemd", lambda _layout: True)
    monkeypatch.setattr(service, "_properties", lambda: {"ActiveState": "active", "NRestarts": "0"})
    monkeypatch.setattr(service, "STEADY_S", 0.0)
    return service.wait_healthy(layout, True, lambda _line: None, limit_s=1.5)


def test_the_model_is_looked_for_where_the_new_configuration_lets_it_listen(
    layout: Layout, ready: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert healthy(layout, monkeypatch, {"running": True, "model": "m", "listen": f"127.0.0.1:{ready}"}) == ""
    assert healthy(layout, monkeypatch, {"running": True, "model": "m", "listen": "unix:/run/there"}) == ""


@pytest.mark.parametrize("changed", [{"model": ""}, {"running": False}, {"listen": "127.0.0.1:1"}])
def test_an_agent_that_lost_its_model_is_not_healthy(
    layout: Layout, ready: int, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object]
) -> None:
    status = {"running": True, "model": "m", "listen": f"127.0.0.1:{ready}"} | changed
    assert "did not serve its model" in healthy(layout, monkeypatch, status)


def test_a_service_that_never_gets_ready_is_left_to_whoever_looks_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(tmp_path / "systemctl", "exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(service, "COMMAND_LIMIT_S", 0.05)
    assert service.systemctl("restart", "it", check=False) == ""
    with pytest.raises(SetupError, match=r"^systemctl restart it: "):
        service.systemctl("restart", "it")
