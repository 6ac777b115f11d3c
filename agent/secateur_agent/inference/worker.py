"""The worker process: ``python -m secateur_agent.inference.worker --control FD --listen FD``.

Serves on the inherited listening socket and obeys the control channel (`secateur_agent.inference.control`). When the
channel closes, the supervisor is no more, and the worker ends at once.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from secateur_agent.inference.backend import BackendError, one_line
from secateur_agent.inference.control import (
    DEFAULT_MAX_BODY_BYTES,
    DEFAULT_MAX_CONCURRENT,
    MAX_LINE_BYTES,
    AskStats,
    ControlError,
    LoadFailed,
    LoadRung,
    Reply,
    Request,
    StatsReply,
    decode_line,
    encode_line,
)
from secateur_agent.inference.server import InferenceServer, Limits
from secateur_agent.inference.switch import RungSwitch
from secateur_agent.profiling.memory import rss_mb

_PR_SET_PDEATHSIG = 1


class Worker:
    """Ties control channel, switch and server together."""

    def __init__(
        self, control: socket.socket, listening: socket.socket, limits: Limits, accept_when_loaded: bool = False
    ) -> None:
        self._control = control
        self._send_lock = threading.Lock()
        self._switch = RungSwitch()
        self._server = InferenceServer(listening, self._switch, limits)
        self._loads: queue.SimpleQueue[LoadRung] = queue.SimpleQueue()
        self._may_accept = threading.Event()
        if not accept_when_loaded:
            self._may_accept.set()

    def run(self) -> None:
        """Serve until SIGTERM or the end of the control channel. Call it in the main thread, which gets the signals."""
        threading.Thread(target=self._load_in_turn, name="load", daemon=True).start()
        threading.Thread(target=self._obey, name="control", daemon=True).start()
        # After a crash, requests wait in the backlog for the rung instead of being refused.
        self._may_accept.wait()
        signal.signal(signal.SIGTERM, lambda _number, _frame: self._server.end())
        self._server.run()

    def _obey(self) -> NoReturn:
        with contextlib.suppress(OSError), self._control.makefile("rb") as lines:
            while line := lines.readline(MAX_LINE_BYTES + 1):
                try:
                    request: Request = decode_line(line, Request)  # type: ignore[arg-type]
                except ControlError as error:
                    print(f"secateur-agent: worker: {error}", file=sys.stderr)
                    continue
                if isinstance(request, AskStats):
                    self._send(self._stats())
                else:
                    self._loads.put(request)
        os._exit(0)

    def _load_in_turn(self) -> NoReturn:
        while True:
            load = self._loads.get()
            try:
                self._send(self._switch.load(load))
            except BackendError as error:
                self._send(LoadFailed(rung=load.rung, error=str(error)))
            except Exception as error:  # out of memory, say: the rung before serves on
                self._send(LoadFailed(rung=load.rung, error=f"rung {load.rung}: {one_line(error)}"))
            self._may_accept.set()

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


def end_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends, so that even a hung runtime does not outlive it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


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
    options = parser.parse_args(arguments)
    end_with_parent()
    # Ctrl-C on a terminal reaches the whole process group; whether to end is the supervisor's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    limits = Limits(max_body_bytes=options.max_body_bytes, max_concurrent=options.max_concurrent)
    control, listening = socket.socket(fileno=options.control), socket.socket(fileno=options.listen)
    Worker(control, listening, limits, options.accept_when_loaded).run()


if __name__ == "__main__":
    main()
