"""Where boards are used: a real mosquitto with TLS, a host, and the product's own commands. Boards reach it as 10.0.2.2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from secateur.bundle.keys import Keys, create_keys
from secateur.fleet.broker_folder import configure
from tests.boards.board import Board
from tests.boards.build_cache import BUILD
from tests.mosquitto import Mosquitto
from tests.scripted_device import HostProcess

HOST_SEEN_BY_BOARDS = "10.0.2.2"
Found = TypeVar("Found")


class Site:
    """A broker and a host, with folders of their own.

    Args:
        folder: holds everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys: Keys = create_keys(folder / "keys")
        self.broker = Mosquitto(folder / "broker")
        made = configure(folder / "broker", ["localhost"], [HOST_SEEN_BY_BOARDS], self.broker.port, "127.0.0.1").folder
        login = ["--password-file", str(made.controller_password_path), "--ca-file", str(made.ca_path)]
        (folder / "host").mkdir()
        self.host = HostProcess(folder / "host", made.controller_url, "--keys", str(self.keys.folder), *login)
        # Environments and wheels are kept from run to run.
        self._environment = os.environ | {
            "XDG_CACHE_HOME": str(BUILD / "xdg"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_DATA_HOME": str(folder / "share"),
            "SECATEUR_STATE": str(self.host.state),
            "SECATEUR_KEYS": str(self.keys.folder),
        }

    def start(self) -> None:
        """Start broker and host."""
        self.broker.start()
        self.host.start()

    def stop(self) -> None:
        """End both."""
        self.host.kill()
        self.broker.kill()

    @property
    def access(self) -> list[str]:
        """Options of `secateur flash` that lead boards here."""
        url = f"mqtts://{HOST_SEEN_BY_BOARDS}:{self.broker.port}"
        return ["--broker-folder", str(self.broker.folder.path), "--broker", url]

    def secateur(self, *arguments: object, limit_s: float = 900, **variables: str) -> str:
        """Run `secateur`. Returns: what it printed; it must succeed."""
        command = [sys.executable, "-m", "secateur.cli", *map(str, arguments)]
        environment = self._environment | variables
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, env=environment)
        assert done.returncode == 0, f"secateur {' '.join(map(str, arguments))}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def flash(self, image: Path, card: Path, device: str, *options: object, profile: str = "raspberry-pi-4b") -> Any:
        """`secateur flash image` to a file. Returns: its JSON."""
        arguments = ("flash", "image", image, "--id", device, "--profile", profile, "--output", card, "--json")
        return json.loads(self.secateur(*arguments, *self.access, *options))

    def device(self, device: str) -> dict[str, Any]:
        """What the host knows of a device, {} if nothing."""
        with self.host.client() as client:
            known = [found["device"] for found in client.devices()]
            return client.device(device) if device in known else {}

    def born(self, device: str) -> dict[str, Any]:
        """The device, once its signed birth has arrived and it was enrolled by its token; else {}."""
        found = self.device(device)
        return found if found.get("state") == "ready" and found.get("keyid") else {}

    def reported(self, device: str) -> dict[str, Any]:
        """The device's reported shadow, {} if there is none."""
        return self.device(device).get("reported") or {}

    def serving(self, device: str) -> str:
        """The rung that it reports as serving, '' if none is."""
        found = self.device(device)
        return str(found.get("rung") or "") if found.get("state") == "ready" else ""

    def push(self, bundle: Path, device: str, chunk_kib: int = 64) -> str:
        """Push a bundle. Returns: the digest of its manifest."""
        with self.host.client() as client:
            return str(client.push(bundle, [device], chunk_kib=chunk_kib)["manifest_sha256"])

    def committed(self, device: str, manifest_sha256: str) -> dict[str, Any]:
        """The reported shadow, once this model is committed and serves; else {}."""
        found = self.reported(device)
        done = found.get("manifest_sha256") == manifest_sha256 and found.get("install") == "committed" and found.get("rung")
        return found if done else {}

    def wait(self, what: str, check: Callable[[], Found], limit_s: float, board: Board) -> Found:
        """Wait until `check` returns something true.

        Raises:
            AssertionError: it did not; the ends of the logs of board, host and broker are told.
        """
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if found := check():
                return found
            assert board.on, f"the board went off, waiting for {what}:\n{board.console[-3000:]}"
            time.sleep(0.25)
        raise AssertionError("\n".join([f"in vain, {limit_s:.0f} s: {what}", self._logs(board)]))

    def _logs(self, board: Board) -> str:
        look = (
            "cat /var/log/secateur-setup.log /boot/firmware/secateur/{first-boot.log,setup-status.json}; "
            "systemctl --no-pager status secateur-agent; journalctl --no-pager -u secateur-agent -n 40"
        )
        try:
            seen = board.run(look, limit_s=60, check=False)
        except AssertionError as error:
            seen = str(error)
        parts = {"board": seen, "host": self.host.log()[-3000:], "broker": self.broker.log.read_text()[-2000:]}
        return "\n".join(f"--- {name} ---\n{text}" for name, text in parts.items())
