"""Serves the Open Inference Protocol v2 over HTTP, on a listening socket that somebody else opened.

The application is plain WSGI; waitress carries it. Every error is the protocol's ``{"error": "..."}``.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
import waitress
from waitress.task import ErrorTask

import secateur_agent
from secateur_agent.bundle.manifest import TensorSpec
from secateur_agent.inference.backend import BackendError, one_line
from secateur_agent.inference.control import DEFAULT_MAX_BODY_BYTES, DEFAULT_MAX_CONCURRENT
from secateur_agent.inference.drain import DrainingChannel, DrainingLoop
from secateur_agent.inference.switch import RungSwitch, ServingRung
from secateur_agent.inference.v2_codec import (
    DEFAULT_MAX_BATCH,
    HEADER_LENGTH,
    CodecError,
    InferResponse,
    decode_request,
    encode_response,
)

_JSON = "application/json"
_BINARY = "application/octet-stream"
_KEEP_ALIVE_S = 600
_LINGER_S = 2.0
_WORKING_MEMORY_BYTES = 8 << 20


@dataclass(frozen=True)
class Limits:
    """What the server accepts. ``max_waiting`` counts requests that wait for one of ``max_concurrent`` threads."""

    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    max_batch: int = DEFAULT_MAX_BATCH
    max_concurrent: int = DEFAULT_MAX_CONCURRENT
    max_waiting: int = 128
    max_connections: int = 512


class HttpError(Exception):
    """Answer with this status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class _Response:
    body: bytes
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    content_type: str = _JSON


class InferenceApp:
    """The protocol as a WSGI application.

    ``requests`` and ``failed_requests`` (5xx) count inference requests, ``inferences`` the samples in their batches.
    """

    def __init__(self, switch: RungSwitch, limits: Limits, waiting: Callable[[], int] = lambda: 0) -> None:
        """Args: ``switch`` holds the rung; ``waiting`` tells how many requests wait for a thread."""
        self._switch = switch
        self._limits = limits
        self._waiting = waiting
        self._count_lock = threading.Lock()
        self.requests = 0
        self.failed_requests = 0
        self.inferences = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        path = [part for part in environ["PATH_INFO"].split("/") if part]
        try:
            response = self._route(path, environ)
        except HttpError as error:
            response = _error(error.status, str(error))
        except CodecError as error:
            response = _error(400, str(error))
        except BackendError as error:
            response = _error(500, str(error))
        except Exception as error:
            logging.getLogger(__name__).exception("request failed")
            response = _error(500, f"internal error: {one_line(error)}")
        if path[-1:] == ["infer"]:
            with self._count_lock:
                self.requests += 1
                self.failed_requests += response.status >= 500
        headers = [("Content-Type", response.content_type), ("Content-Length", str(len(response.body)))]
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", headers + response.headers)
        return [response.body]

    def _route(self, path: list[str], environ: dict[str, Any]) -> _Response:
        method = environ["REQUEST_METHOD"]
        expected = "POST" if path[-1:] == ["infer"] else "GET"
        if method != expected:
            raise HttpError(405, f"/{'/'.join(path)}: {method[:16]} is not possible here, {expected} is")
        match path:
            case ["v2"]:
                version = secateur_agent.__version__
                return _json({"name": "secateur-agent", "version": version, "extensions": ["binary_tensor_data"]})
            case ["v2", "health", "live"]:
                return _json({"live": True})
            case ["v2", "health", "ready"]:
                ready = self._switch.serving is not None
                return _json({"ready": ready}, 200 if ready else 503)
            case ["v2", "models", name, *rest]:
                return self._model(name, _without_version(rest), environ)
        raise HttpError(404, f"/{'/'.join(path)[:200]}: no such address; the protocol begins at /v2")

    def _model(self, name: str, rest: list[str], environ: dict[str, Any]) -> _Response:
        with self._switch.lease() as rung:
            if rung is None:
                raise HttpError(503, "not ready: no rung is loaded yet; try again in a moment")
            if name != rung.load.name:
                raise HttpError(404, f"model {name[:64]!r}: unknown; this device serves {rung.load.name!r}")
            match rest:
                case []:
                    return _metadata(rung)
                case ["ready"]:
                    return _json({"name": name, "ready": True})
                case ["infer"]:
                    return self._infer(rung, environ)
        raise HttpError(404, f"model {name!r}: no such address: {'/'.join(rest)[:200]}; try infer or ready")

    def _infer(self, rung: ServingRung, environ: dict[str, Any]) -> _Response:
        if self._waiting() > self._limits.max_waiting:
            raise HttpError(503, f"busy: more than {self._limits.max_waiting} requests wait; send fewer at once")
        body = self._body(environ)
        header_length = _header_length(environ)
        load = rung.load
        request = decode_request(body, header_length, load.inputs, load.outputs, self._limits.max_batch)
        outputs = rung.run(request.inputs)
        samples = max((len(array) for array in request.inputs.values() if array.ndim), default=1)
        with self._count_lock:
            self.inferences += samples
        text, json_bytes = encode_response(InferResponse(load.name, outputs, load.rung, request.id), request)
        headers = [("X-Secateur-Rung", load.rung)]
        if json_bytes is None:
            return _Response(text, headers=headers)
        return _Response(text, headers=[*headers, (HEADER_LENGTH, str(json_bytes))], content_type=_BINARY)

    def _body(self, environ: dict[str, Any]) -> bytes:
        body: bytes = environ["wsgi.input"].read()
        encoding = environ.get("HTTP_CONTENT_ENCODING", "identity").lower()
        if encoding in ("gzip", "deflate"):
            unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
            try:
                body = unpacker.decompress(body, self._limits.max_body_bytes + 1)
            except zlib.error as error:
                raise HttpError(400, f"body: not {encoding}: {error}") from None
        elif encoding != "identity":
            raise HttpError(415, f"body: Content-Encoding {encoding[:32]!r} is not one of identity, gzip, deflate")
        if len(body) > self._limits.max_body_bytes:
            raise HttpError(413, f"body: more than the limit of {self._limits.max_body_bytes} bytes")
        return body


class InferenceServer:
    """The application on its socket: `run` serves until `end`."""

    def __init__(self, listening: socket.socket, switch: RungSwitch, limits: Limits) -> None:
        """Args: ``listening`` is a bound socket, TCP or Unix; ``switch`` holds the rung."""
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self.app = InferenceApp(switch, limits, lambda: len(self._server.task_dispatcher.queue))
        self._server = waitress.create_server(
            self.app,
            sockets=[listening],
            threads=limits.max_concurrent,
            # waitress refuses a body that *reaches* its limit.
            max_request_body_size=limits.max_body_bytes + 1,
            # A temporary file per request would wear the SD card out; only very large bodies get one.
            inbuf_overflow=_WORKING_MEMORY_BYTES,
            outbuf_overflow=_WORKING_MEMORY_BYTES,
            connection_limit=limits.max_connections,
            channel_timeout=_KEEP_ALIVE_S,
            asyncore_use_poll=True,
            backlog=1024,
            ident="secateur-agent",
        )
        self._server.channel_class = _Channel
        # The thread that computed a response writes it, instead of waking the network thread to do so.
        self._server.adj.send_bytes = 1
        self._loop = DrainingLoop(self._server)

    def run(self) -> list[socket.socket] | None:
        """Serve until `end` or `hand_over`; requests that have come by then are answered.

        Returns:
            The open connections after `hand_over`, None after `end`.
        """
        # The network thread must not wait 5 ms for the interpreter when a thread decodes a large request.
        sys.setswitchinterval(0.001)
        return self._loop.run()

    def end(self) -> None:
        """Make `run` end. A signal handler may call it."""
        self._loop.end()

    def hand_over(self) -> None:
        """Make `run` end and return its connections, for a successor to `adopt`."""
        self._loop.hand_over()

    def adopt(self, connections: Iterable[socket.socket]) -> None:
        """Serve these connections too; what their clients have sent meanwhile is read. Call it before `run`."""
        for connection in connections:
            try:
                address = connection.getpeername()
            except OSError:  # its client has gone
                connection.close()
                continue
            server = self._server
            server.channel_class(server, connection, server.fix_addr(address), server.adj, map=server._map)


class _ErrorTask(ErrorTask):  # type: ignore[misc]
    """What waitress refuses by itself (too large, not HTTP), in the protocol's form."""

    def execute(self) -> None:
        error = self.request.error
        body = msgspec.json.encode({"error": f"{error.reason}: {error.body}"})
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", _JSON))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)
        self._linger()

    def _linger(self) -> None:
        # Closing while the client still sends would reset the connection, and the client would never see why.
        connection = self.channel.socket
        deadline = time.monotonic() + _LINGER_S
        with contextlib.suppress(OSError, ValueError):
            connection.shutdown(socket.SHUT_WR)
            while (left_s := deadline - time.monotonic()) > 0:
                readable, _, _ = select.select([connection], [], [], left_s)
                if not readable or not connection.recv(1 << 16):
                    return


class _Channel(DrainingChannel):
    error_task_class = _ErrorTask


def _json(message: object, status: int = 200) -> _Response:
    return _Response(msgspec.json.encode(message), status)


def _error(status: int, message: str) -> _Response:
    return _json({"error": message}, status)


def _without_version(rest: list[str]) -> list[str]:
    if rest[:1] != ["versions"]:
        return rest
    if rest[1:2] != ["1"]:
        raise HttpError(404, f"model version {'/'.join(rest[1:2])[:32]!r}: unknown; there is version '1'")
    return rest[2:]


def _metadata(rung: ServingRung) -> _Response:
    def listed(specs: Iterable[TensorSpec]) -> list[dict[str, Any]]:
        return [{"name": spec.name, "datatype": spec.datatype, "shape": spec.shape} for spec in specs]

    load = rung.load
    return _json(
        {
            "name": load.name,
            "versions": ["1"],
            "platform": rung.backend.platform or load.runtime,
            "inputs": listed(load.inputs),
            "outputs": listed(load.outputs),
            "parameters": {"rung": load.rung},
        }
    )


def _header_length(environ: dict[str, Any]) -> int | None:
    text = environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise HttpError(400, f"{HEADER_LENGTH}: expected a number of bytes, got {text[:32]!r}")
    return int(text)
