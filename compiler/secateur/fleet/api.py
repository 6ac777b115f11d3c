"""The REST API of the controller: JSON under ``/api/v1``, a bearer token on every request."""

from __future__ import annotations

import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from secateur.fleet.blobs import DEFAULT_CHUNK_BYTES
from secateur.fleet.commands import DEFAULT_EXPIRY_S
from secateur.fleet.controller import Controller
from secateur.fleet.devices import Device, UnknownDevice
from secateur.fleet.enrolment import describe
from secateur_agent.protocol.envelope import keyid_of
from secateur_agent.protocol.messages import Policy

MAX_BODY_BYTES = 1 << 20
_STREAM_PAGE = 500

Handler = Callable[[Controller, Request], Awaitable[Any]]
B = TypeVar("B")


class RequestError(ValueError):
    """A request is not what the API expects."""


class PushBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``POST /push``. Paths are absolute, on the controller's machine."""

    bundle: str
    devices: tuple[str, ...]
    workspace: str = ""
    chunk_kib: int = DEFAULT_CHUNK_BYTES >> 10
    any_profile: bool = False


class PinBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``POST /devices/{id}/pin``; ``auto`` lets the device choose."""

    rung: str


class CommandBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``POST /devices/{id}/commands``."""

    body: str
    expiry_s: float = DEFAULT_EXPIRY_S


class MeasureBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``POST /devices/{id}/measure``. The pack's path is absolute, on the controller's machine."""

    pack: str
    chunk_kib: int = DEFAULT_CHUNK_BYTES >> 10
    expiry_s: float = DEFAULT_EXPIRY_S


def create_app(controller: Controller, token: str) -> Starlette:
    """Return the API of a controller as an ASGI application.

    Args:
        controller: it must be running in the same event loop.
        token: what clients must send as ``Authorization: Bearer …``.
    """

    def route(path: str, handler: Handler, method: str = "GET") -> Route:
        async def endpoint(request: Request) -> Response:
            given = request.headers.get("authorization", "").encode("latin-1", "replace")
            if not hmac.compare_digest(given, f"Bearer {token}".encode()):
                return _json({"error": "wrong or missing token; it is in host.json of the controller's state folder"}, 401)
            try:
                result = await handler(controller, request)
            except UnknownDevice as error:
                return _json({"error": _line(error)}, 404)
            except ValueError as error:
                return _json({"error": _line(error)}, 400)
            return result if isinstance(result, Response) else _json(result)

        return Route(f"/api/v1{path}", endpoint, methods=[method])

    return Starlette(
        routes=[
            route("/status", _status),
            route("/devices", _devices),
            route("/devices/{id}", _device),
            route("/devices/{id}/telemetry", _telemetry),
            route("/devices/{id}/telemetry/stream", _stream),
            route("/devices/{id}/events", _events),
            route("/devices/{id}/commands", _commands),
            route("/devices/{id}/commands", _issue, "POST"),
            route("/devices/{id}/commands/{command}", _command),
            route("/devices/{id}/measure", _measure, "POST"),
            route("/devices/{id}/pin", _pin, "POST"),
            route("/devices/{id}/policy", _policy, "POST"),
            route("/push", _push, "POST"),
            route("/reprunes", _reprunes),
            route("/events", _host_events),
        ]
    )


async def _status(controller: Controller, _request: Request) -> Any:
    return controller.status()


async def _devices(controller: Controller, _request: Request) -> Any:
    return {"devices": [_summary(device) for device in controller.devices.all()]}


async def _device(controller: Controller, request: Request) -> Any:
    device = controller.devices.get(request.path_params["id"])
    pushes = controller.traffic.pushes(device.device)
    return {
        **_summary(device),
        "birth": device.birth,
        "keyid": keyid_of(device.public_key) if device.public_key else "",
        "enrolment": describe(device.public_key, controller.enrolments.of(device.device), time.time()),
        "reported": device.reported,
        "desired": controller.shadows.get(device.device),
        "pushes": pushes,
        "broadcast_bytes": sum(push["broadcast_bytes"] for push in pushes),
        "repair_bytes": sum(push["repair_bytes"] for push in pushes),
        "bytes_pushed": sum(push["broadcast_bytes"] + push["repair_bytes"] for push in pushes),
        "commands": controller.commands.recent(device.device, 10),
    }


async def _telemetry(controller: Controller, request: Request) -> Any:
    device = controller.devices.get(request.path_params["id"]).device
    after, limit = _number(request, "after", 0, -1), _number(request, "limit", 1000, 1, 10_000)
    return {"samples": controller.samples.read(device, after, limit)}


async def _stream(controller: Controller, request: Request) -> Any:
    device = controller.devices.get(request.path_params["id"]).device
    after = _number(request, "after", -1, -1)

    async def lines() -> AsyncIterator[bytes]:
        last = after
        if last < 0:
            newest = controller.samples.read(device, -1, 1)
            last = newest[-1]["id"] if newest else 0
        while not controller.stopping:
            found = controller.samples.read(device, last, _STREAM_PAGE)
            for sample in found:
                last = sample["id"]
                yield b"id: %d\ndata: %s\n\n" % (last, msgspec.json.encode(sample))
            if not found:
                yield b": waiting\n\n"
                await controller.stored(10.0)

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _events(controller: Controller, request: Request) -> Any:
    device = controller.devices.get(request.path_params["id"]).device
    return {"events": _page_of_events(controller, request, device)}


async def _host_events(controller: Controller, request: Request) -> Any:
    return {"events": _page_of_events(controller, request, "")}


def _page_of_events(controller: Controller, request: Request, device: str) -> list[dict[str, Any]]:
    return controller.devices.events(device, _number(request, "after", 0, 0), _number(request, "limit", 200, 1, 5000))


async def _commands(controller: Controller, request: Request) -> Any:
    return {"commands": controller.commands.recent(controller.devices.get(request.path_params["id"]).device)}


async def _issue(controller: Controller, request: Request) -> Any:
    device = controller.devices.get(request.path_params["id"]).device
    body = await _body(request, CommandBody)
    return controller.commands.issue(device, body.body, body.expiry_s)


async def _command(controller: Controller, request: Request) -> Any:
    device = controller.devices.get(request.path_params["id"]).device
    return controller.commands.get(device, request.path_params["command"])


async def _measure(controller: Controller, request: Request) -> Any:
    device = controller.devices.get(request.path_params["id"])
    body = await _body(request, MeasureBody)
    path = Path(body.pack)
    if not path.is_absolute():
        raise RequestError(f"measure: {body.pack!r} is not an absolute path")
    return await controller.packs.issue(device, path, body.chunk_kib << 10, body.expiry_s)


async def _pin(controller: Controller, request: Request) -> Any:
    body = await _body(request, PinBody)
    return {"version": controller.steering.pin(request.path_params["id"], body.rung)}


async def _policy(controller: Controller, request: Request) -> Any:
    body = await _body(request, Policy)
    return {"version": controller.steering.set_policy(request.path_params["id"], body)}


async def _push(controller: Controller, request: Request) -> Any:
    body = await _body(request, PushBody)
    bundle, workspace = Path(body.bundle), Path(body.workspace) if body.workspace else None
    for path in (bundle, workspace):
        if path is not None and not path.is_absolute():
            raise RequestError(f"push: {str(path)!r} is not an absolute path")
    if workspace is not None and not workspace.is_dir():
        raise RequestError(f"push: workspace {workspace} is not a folder")
    registered, versions = await controller.steering.push(
        bundle, body.devices, workspace=workspace, chunk_bytes=body.chunk_kib << 10, any_profile=body.any_profile
    )
    if registered.workspace:
        controller.reprune.warm()
    return {
        "manifest_sha256": registered.manifest_sha256,
        "name": registered.manifest.name,
        "profile": registered.manifest.profile,
        "workspace": str(registered.workspace or ""),
        "bytes": sum(file.size for file in registered.manifest.files),
        "versions": versions,
    }


async def _reprunes(controller: Controller, _request: Request) -> Any:
    return {"reprunes": controller.asks.recent()}


def _summary(device: Device) -> dict[str, Any]:
    birth, reported = device.birth, device.reported
    return {
        "device": device.device,
        "profile": birth.profile if birth else "",
        "simulated": birth.simulated if birth else "",
        "state": device.state,
        "state_reason": device.state_reason,
        "boot": device.boot,
        "model": reported.model if reported else "",
        "install": reported.install if reported else "",
        "rung": reported.rung if reported else "",
        "pin": reported.pin if reported else "",
        "version": reported.version if reported else 0,
        "download_have": reported.download_have if reported else 0,
        "download_total": reported.download_total if reported else 0,
        "manifest_sha256": reported.manifest_sha256 if reported else "",
        "endpoint": reported.endpoint if reported else "",
        "fault": reported.fault if reported else "",
        "first_seen_s": device.first_seen_s,
        "last_seen_s": device.last_seen_s,
    }


async def _body(request: Request, kind: type[B]) -> B:
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY_BYTES:
            raise RequestError(f"request: more than {MAX_BODY_BYTES} bytes")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"request: {error}") from None


def _number(request: Request, name: str, default: int, low: int, high: int = 2**53) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = int(text[:20])
    except ValueError:
        raise RequestError(f"request: {name}={text[:20]!r} is not an integer") from None
    if not low <= value <= high:
        raise RequestError(f"request: {name}={value} is not within {low} to {high}")
    return value


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def _line(error: ValueError) -> str:
    return " ".join(str(error).split()) or type(error).__name__
