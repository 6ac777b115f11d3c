"""A client of the REST API, for the commands and for other programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from secateur.fleet.host_file import Host, read_host


class ClientError(ValueError):
    """The controller refused, or could not be reached; one line."""


class HostClient:
    """Talks to a running controller. A context manager."""

    def __init__(self, host: Host, timeout_s: float = 60.0) -> None:
        self._host = host
        self._http = httpx.Client(
            base_url=f"{host.url.rstrip('/')}/api/v1",
            headers={"authorization": f"Bearer {host.token}"},
            timeout=timeout_s,
            trust_env=False,  # a proxy has no business with a loopback address
        )

    @classmethod
    def find(cls, state: Path, url: str = "") -> HostClient:
        """Return a client of the controller that was started with this state folder.

        Args:
            state: its state folder; the token is read from there.
            url: where it listens, if not where its file says.

        Raises:
            secateur.fleet.host_file.HostFileError: if none is running.
        """
        host = read_host(state)
        return cls(Host(url or host.url, host.token))

    def __enter__(self) -> HostClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def status(self) -> dict[str, Any]:
        """``GET /status``."""
        return self._call("GET", "/status")

    def devices(self) -> list[dict[str, Any]]:
        """``GET /devices``."""
        return list(self._call("GET", "/devices")["devices"])

    def device(self, device: str) -> dict[str, Any]:
        """``GET /devices/{id}``."""
        return self._call("GET", _at(device))

    def telemetry(self, device: str, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """``GET /devices/{id}/telemetry``; ``after=-1`` for the newest ``limit`` samples."""
        parameters = {"after": after, "limit": limit}
        return list(self._call("GET", f"{_at(device)}/telemetry", params=parameters)["samples"])

    def follow(self, device: str, after: int = -1) -> Iterator[dict[str, Any]]:
        """``GET /devices/{id}/telemetry/stream``: samples as they are stored, without end."""
        try:
            with self._http.stream(
                "GET", f"{_at(device)}/telemetry/stream", params={"after": after}, timeout=httpx.Timeout(60.0)
            ) as response:
                if response.status_code != 200:
                    response.read()
                    raise self._refusal(response)
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        yield json.loads(line[6:])
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None

    def events(self, device: str, after: int = 0, limit: int = 200) -> list[dict[str, Any]]:
        """``GET /devices/{id}/events``."""
        return list(self._call("GET", f"{_at(device)}/events", params={"after": after, "limit": limit})["events"])

    def push(
        self,
        bundle: Path,
        devices: list[str],
        *,
        workspace: Path | None = None,
        chunk_kib: int = 64,
        any_profile: bool = False,
    ) -> dict[str, Any]:
        """``POST /push``."""
        body = {
            "bundle": str(bundle.resolve()),
            "devices": devices,
            "workspace": str(workspace.resolve()) if workspace else "",
            "chunk_kib": chunk_kib,
            "any_profile": any_profile,
        }
        return self._call("POST", "/push", json=body)

    def pin(self, device: str, rung: str) -> int:
        """``POST /devices/{id}/pin``; returns the version of the desired shadow."""
        return int(self._call("POST", f"{_at(device)}/pin", json={"rung": rung})["version"])

    def policy(self, device: str, policy: dict[str, Any]) -> int:
        """``POST /devices/{id}/policy``; returns the version of the desired shadow."""
        return int(self._call("POST", f"{_at(device)}/policy", json=policy)["version"])

    def command(self, device: str, body: str, expiry_s: float) -> dict[str, Any]:
        """``POST /devices/{id}/commands``."""
        return self._call("POST", f"{_at(device)}/commands", json={"body": body, "expiry_s": expiry_s})

    def measure(self, device: str, pack: Path, expiry_s: float) -> dict[str, Any]:
        """``POST /devices/{id}/measure``; returns the command."""
        return self._call("POST", f"{_at(device)}/measure", json={"pack": str(pack.resolve()), "expiry_s": expiry_s})

    def command_state(self, device: str, command: str) -> dict[str, Any]:
        """``GET /devices/{id}/commands/{command}``."""
        return self._call("GET", f"{_at(device)}/commands/{quote(command, safe='')}")

    def commands(self, device: str) -> list[dict[str, Any]]:
        """``GET /devices/{id}/commands``."""
        return list(self._call("GET", f"{_at(device)}/commands")["commands"])

    def reprunes(self) -> list[dict[str, Any]]:
        """``GET /reprunes``."""
        return list(self._call("GET", "/reprunes")["reprunes"])

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        if response.status_code != 200:
            raise self._refusal(response)
        return dict(response.json())

    def _refusal(self, response: httpx.Response) -> ClientError:
        try:
            return ClientError(str(response.json()["error"]))
        except (ValueError, KeyError, TypeError):
            return ClientError(f"controller {self._host.url}: answered {response.status_code}")

    def _unreachable(self, error: Exception) -> ClientError:
        reason = str(error) or type(error).__name__
        return ClientError(f"controller {self._host.url}: {reason}; does 'secateur serve' still run?")


def _at(device: str) -> str:
    return f"/devices/{quote(device, safe='')}"
