"""The worker as the supervisor sees it: start it, tell it which rung to serve, hear what became of that.

The control channel is a socket pair with one JSON object per line. Imports neither numpy nor a runtime, for the
supervisor must stay small.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from secateur_agent.bundle.manifest import Precision, TensorSpec
from secateur_agent.protocol.messages import RungId, Sha256

DEFAULT_MAX_BODY_BYTES = 64 << 20
DEFAULT_MAX_CONCURRENT = 4
MAX_LINE_BYTES = 1 << 20


class ControlError(ValueError):
    """A line on the control channel is not a message."""


# --- supervisor to worker ---------------------------------------------------------------------------------------------


class LoadRung(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """Serve this rung instead of the present one."""

    rung: RungId
    path: str
    """The materialised model file."""
    sha256: Sha256
    """Digest that the file must have."""
    precision: Precision
    name: str
    """Name of the model in the inference protocol."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    runtime: str
    """Name of the runtime, as device profiles spell it."""
    providers: tuple[str, ...] = ()
    """Execution providers, the preferred one first; empty is what the runtime does by itself."""
    cache: str = ""
    """Folder for what a runtime compiles from the file on this device; empty: nothing is kept."""
    threads: Annotated[int, Meta(ge=1, le=4096)] = 1
    """Threads inside one operator."""
    replace: bool = False
    """End the rung before first, and with it the process image that holds its memory; requests wait meanwhile."""


class AskStats(msgspec.Struct, frozen=True, kw_only=True, tag="stats"):
    """Answer with a `StatsReply`."""


Request = LoadRung | AskStats


# --- worker to supervisor ---------------------------------------------------------------------------------------------


class Replacing(msgspec.Struct, frozen=True, kw_only=True, tag="replacing"):
    """The rung before has answered its last request and is gone; requests wait until `Loaded` or `LoadFailed` follows."""

    rung: str
    """The rung to come."""


class Replaced(msgspec.Struct, frozen=True, kw_only=True):
    """What replacing the process image took and gave."""

    held_ms: float
    """From the end of accepting requests until the new rung could answer."""
    rss_before_mb: float | None
    """Resident memory of the image that ended, in MB of 2^20 bytes; None where the system does not tell."""
    rss_mb: float | None
    """The same of the new one, its rung warmed up."""


class Loaded(msgspec.Struct, frozen=True, kw_only=True, tag="loaded"):
    """The rung serves, and the one before it is gone from memory."""

    rung: str
    build_ms: float
    """Verify, build and warm up, while the rung before still served."""
    drain_ms: float
    """From the swap until the last request of the rung before was answered."""
    providers: tuple[str, ...]
    """Execution providers that really run, in their order."""
    fallback: str = ""
    """Why it is not the preferred provider that runs; empty if it is."""
    replaced: Replaced | None = None
    """What became of the process image before; None if there was none, or the rung was built beside the one before."""


class LoadFailed(msgspec.Struct, frozen=True, kw_only=True, tag="load-failed"):
    """The rung cannot be served; the one before it still is, unless `Replacing` came before."""

    rung: str
    error: str


class StatsReply(msgspec.Struct, frozen=True, kw_only=True, tag="stats"):
    """Counters since the worker started (a replaced process image counts on), and what it is now."""

    requests: int
    """Inference requests answered, whatever the answer."""
    failed_requests: int
    """Those answered with a 5xx status: not the client's fault."""
    inferences: int = 0
    """Samples that were inferred: a request with a batch of eight counts eight."""
    in_flight: int
    rung: str
    """The rung that serves; empty before the first."""
    latency_p50_ms: float | None
    """Median of the latest runs of this rung, runtime only; None before the first run."""
    rss_mb: float | None
    """Resident memory in MB of 2^20 bytes; None where the system does not tell."""


Reply = Loaded | LoadFailed | Replacing | StatsReply


class WorkerExited(msgspec.Struct, frozen=True, kw_only=True):
    """The worker process has ended. A negative code is the number of the signal that ended it (-9: perhaps the OOM
    killer)."""

    returncode: int


M = TypeVar("M")
# Made once, here: msgspec inspects a Struct at its first use, and crashes when two threads do so at once.
_DECODERS: dict[object, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(kind) for kind in (Request, Reply)}


def encode_line(message: Request | Reply) -> bytes:
    """Encode one message of the control channel."""
    return msgspec.json.encode(message) + b"\n"


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Decoders are kept: to build one for a union costs more than to decode a hundred lines."""
    return msgspec.json.Decoder(kind)


def decode_line(line: bytes, kind: type[M]) -> M:
    """Decode one line of the control channel.

    Args:
        line: the line, with or without its newline.
        kind: `Request` or `Reply`.

    Raises:
        ControlError: if it is not such a message.
    """
    if len(line) > MAX_LINE_BYTES:
        raise ControlError(f"control channel: a line of more than {MAX_LINE_BYTES} bytes")
    try:
        message: M = _DECODERS[kind].decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ControlError(f"control channel: {error}") from None
    return message


class WorkerProcess:
    """A running worker. The listening socket stays the caller's: connections wait in its backlog while no worker runs.

    Start it from a thread that lives on (best the main thread): Linux ends the worker when the *thread* that started
    it ends, so that a killed supervisor never leaves one behind.
    """

    def __init__(
        self,
        listen: socket.socket,
        on_event: Callable[[Reply | WorkerExited], object],
        *,
        max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
        max_concurrent: int = DEFAULT_MAX_CONCURRENT,
        env: Mapping[str, str] | None = None,
        accept_at_once: bool = True,
    ) -> None:
        """Start a worker.

        Args:
            listen: a listening socket, see `secateur_agent.inference.listen`.
            on_event: called, from a thread of this object, with each reply and at the end with `WorkerExited`; it
                must only hand over (to a queue).
            max_body_bytes: largest request body.
            max_concurrent: inference requests that run at once.
            env: environment variables to add.
            accept_at_once: False leaves requests in the backlog until the first rung is loaded (or has failed to).
        """
        self._on_event = on_event
        self._send_lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        command: Sequence[str] = [
            *(sys.executable, "-m", "secateur_agent.inference.worker"),
            *("--control", str(theirs.fileno()), "--listen", str(listen.fileno())),
            *("--max-body-bytes", str(max_body_bytes), "--max-concurrent", str(max_concurrent)),
            *(() if accept_at_once else ("--accept-when-loaded",)),
        ]
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), listen.fileno()),
                env={**os.environ, **(env or {})},
            )
        self._reader = threading.Thread(target=self._read, name="worker-control", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def load(self, request: LoadRung) -> None:
        """Ask for a rung; `Loaded` or `LoadFailed` follows, or `WorkerExited` if the worker is no more."""
        self._send(request)

    def request_stats(self) -> None:
        """Ask for the counters; a `StatsReply` follows."""
        self._send(AskStats())

    def terminate(self) -> None:
        """Ask it to end after the requests that run now."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait until it has ended and `WorkerExited` was handed over; return its code, or None after the time-out."""
        self._reader.join(timeout_s)
        return None if self._reader.is_alive() else self._process.returncode

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _send(self, message: Request) -> None:
        # A worker that has just died is told by WorkerExited, not by an exception here.
        with self._send_lock, contextlib.suppress(OSError):
            self._control.sendall(encode_line(message))

    def _read(self) -> None:
        with self._control.makefile("rb") as lines, contextlib.suppress(OSError):
            while line := lines.readline(MAX_LINE_BYTES + 1):
                try:
                    reply: Reply = decode_line(line, Reply)  # type: ignore[arg-type]
                except ControlError as error:
                    print(f"secateur-agent: worker {self.pid}: {error}", file=sys.stderr)
                    continue
                self._on_event(reply)
        returncode = self._process.wait()
        with self._send_lock:
            self._control.close()
        self._on_event(WorkerExited(returncode=returncode))
