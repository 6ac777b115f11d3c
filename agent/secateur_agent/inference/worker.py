"""The worker process: ``python -m secateur_agent.inference.worker --control FD --listen FD``.

Serves on the inherited listening socket and obeys the control channel (`secateur_agent.inference.control`). When the
channel closes, the supervisor is no more, and the worker ends at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import NoReturn

import msgspec

from secateur_agent.child_process import end_with_parent
from secateur_agent.inference.backend import BackendError, one_line, verify_file
from secateur_agent.inference.control import (
    DEFAULT_MAX_BODY_BYTES,
    DEFAULT_MAX_CONCURRENT,
    AskStats,
    ControlError,
    Loaded,
    LoadFailed,
    LoadRung,
    Replaced,
    Replacing,
    Reply,
    Request,
    StatsReply,
    decode_line,
    encode_line,
)
from secateur_agent.inference.control_lines import read_line
from secateur_agent.inference.server import InferenceServer, Limits
from secateur_agent.inference.successor import Legacy, adopted, succeed
from secateur_agent.inference.switch import RungSwitch
from secateur_agent.profiling.memory import rss_mb


class Worker:
    """Ties control channel, switch and server together.

    Args:
        control: the channel to the supervisor.
        listening: the socket to serve on.
        limits: what the server accepts.
        accept_when_loaded: leave requests in the backlog until the first rung is loaded (or is not).
        legacy: of the process image whose place this one took; None for a new worker.
    """

    def __init__(
        self,
        control: socket.socket,
        listening: socket.socket,
        limits: Limits,
        accept_when_loaded: bool = False,
        legacy: Legacy | None = None,
    ) -> None:
        self._control = control
        self._send_lock = threading.Lock()
        self._switch = RungSwitch()
        self._server = InferenceServer(listening, self._switch, limits)
        self._loads: queue.SimpleQueue[LoadRung] = queue.SimpleQueue()
        self._may_accept = threading.Event()
        self._decided = threading.Semaphore(0)
        self._replacement: LoadRung | None = None
        self._held_since_s = 0.0
        self._rss_before_mb: float | None = None
        self._legacy = legacy
        if legacy is not None:
            app = self._server.app
            app.requests, app.failed_requests = legacy.requests, legacy.failed_requests
            app.inferences = legacy.inferences
            self._server.adopt(adopted(legacy))
        elif not accept_when_loaded:
            self._may_accept.set()

    def run(self) -> Legacy | None:
        """Serve until SIGTERM, the end of the control channel or a rung that is to replace this process image.

        Call it in the main thread, which gets the signals.

        Returns:
            What to leave to a successor; None if there is to be none.
        """
        threading.Thread(target=self._load_in_turn, name="load", daemon=True).start()
        threading.Thread(target=self._obey, name="control", daemon=True).start()
        # After a crash, requests wait in the backlog for the rung instead of being refused.
        self._may_accept.wait()
        signal.signal(signal.SIGTERM, lambda _number, _frame: self._server.end())
        connections = self._server.run()
        signal.signal(signal.SIGTERM, _stop)
        if self._replacement is None or connections is None:
            return None
        app = self._server.app
        self._send(Replacing(rung=self._replacement.rung))
        return Legacy(
            load=self._replacement,
            connections=tuple(connection.fileno() for connection in connections),
            requests=app.requests,
            failed_requests=app.failed_requests,
            inferences=app.inferences,
            held_since_s=self._held_since_s,
            rss_before_mb=self._rss_before_mb,
        )

    def _obey(self) -> None:
        with contextlib.suppress(OSError):
            while line := read_line(self._control):
                try:
                    request: Request = decode_line(line, Request)  # type: ignore[arg-type]
                except ControlError as error:
                    print(f"secateur-agent: worker: {error}", file=sys.stderr)
                    continue
                if isinstance(request, AskStats):
                    self._send(self._stats())
                    continue
                self._loads.put(request)
                if request.replace:
                    # What is asked after this is for the successor, if there is to be one, and stays in the channel.
                    self._decided.acquire()
                    if self._replacement is not None:
                        return
        os._exit(0)

    def _load_in_turn(self) -> None:
        if self._legacy is not None:
            self._load(self._legacy.load)
            self._legacy = None
        while self._replacement is None:
            load = self._loads.get()
            if load.replace and self._switch.serving is not None:
                self._make_way(load)
            else:
                self._load(load)
            if load.replace:
                self._decided.release()

    def _load(self, load: LoadRung) -> None:
        try:
            self._send(self._told(self._switch.load(load)))
        except BackendError as error:
            self._send(LoadFailed(rung=load.rung, error=str(error)))
        except Exception as error:  # out of memory, say: the rung before serves on
            self._send(LoadFailed(rung=load.rung, error=f"rung {load.rung}: {one_line(error)}"))
        self._may_accept.set()

    def _make_way(self, load: LoadRung) -> None:
        """Have the server hold requests, and `run` return as soon as those that were read are answered."""
        try:
            verify_file(load)  # a damaged file must not cost the rung that serves
        except BackendError as error:
            self._send(LoadFailed(rung=load.rung, error=str(error)))
            return
        self._replacement = load
        self._rss_before_mb, self._held_since_s = rss_mb(), time.monotonic()
        self._server.hand_over()

    def _told(self, loaded: Loaded) -> Loaded:
        """Add what the replacement took, if this was one."""
        if self._legacy is None:
            return loaded
        held_ms = (time.monotonic() - self._legacy.held_since_s) * 1e3
        replaced = Replaced(held_ms=held_ms, rss_before_mb=self._legacy.rss_before_mb, rss_mb=rss_mb())
        return msgspec.structs.replace(loaded, replaced=replaced)

    def _stats(self) -> StatsReply:
        serving = self._switch.serving
        return StatsReply(
            requests=self._server.app.requests,
            failed_requests=self._server.app.failed_requests,
            inferences=self._server.app.inferences,
            in_flight=self._switch.in_flight,
            rung=serving.load.rung if serving else "",
            latency_p50_ms=serving.latency_p50_ms if serving else None,
            rss_mb=rss_mb(),
        )

    def _send(self, message: Reply) -> None:
        with self._send_lock, contextlib.suppress(OSError):
            self._control.sendall(encode_line(message))


def _legacy(text: str) -> Legacy:
    return msgspec.json.decode(text, type=Legacy)


def _stop(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a worker; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="secateur_agent.inference.worker", description="Started by secateur-agent.")
    parser.add_argument("--control", type=int, required=True, metavar="FD")
    parser.add_argument("--listen", type=int, required=True, metavar="FD")
    parser.add_argument("--max-body-bytes", type=int, default=DEFAULT_MAX_BODY_BYTES)
    parser.add_argument("--max-concurrent", type=int, default=DEFAULT_MAX_CONCURRENT)
    parser.add_argument("--accept-when-loaded", action="store_true")
    parser.add_argument("--legacy", type=_legacy, metavar="JSON", help="what the process image before left")
    options = parser.parse_args(arguments)
    end_with_parent()
    # Ctrl-C on a terminal reaches the whole process group; whether to end is the supervisor's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    limits = Limits(max_body_bytes=options.max_body_bytes, max_concurrent=options.max_concurrent)
    control, listening = socket.socket(fileno=options.control), socket.socket(fileno=options.listen)
    left = Worker(control, listening, limits, options.accept_when_loaded, options.legacy).run()
    if left is not None:
        same = [
            *("--control", str(options.control), "--listen", str(options.listen)),
            *("--max-body-bytes", str(options.max_body_bytes), "--max-concurrent", str(options.max_concurrent)),
        ]
        succeed(same, left, (options.control, options.listen))


if __name__ == "__main__":
    main()
