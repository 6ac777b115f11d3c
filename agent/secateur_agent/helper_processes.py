"""Heavy work in short-lived processes, so that the supervisor stays small and a crash of the work is not its own.

A helper is a module run with ``python -m``; it reads one JSON object from standard input and writes one to standard
output. One runs at a time: a small board should not measure and write files at once.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable

import msgspec

_MAX_OUTPUT_BYTES = 4 << 20


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a helper is to do. ``owner`` and ``key`` come back with the result and say whose it is."""

    owner: str
    key: str
    module: str
    request: bytes
    time_limit_s: float


class HelperEnded(msgspec.Struct, frozen=True, kw_only=True):
    """How a helper ended. ``error`` is '' if it ended by itself with status 0; ``output`` is what it wrote.

    ``killed``: by a signal or for its time limit, so it says nothing about the correctness of its input.
    """

    job: Job
    output: bytes = b""
    error: str = ""
    killed: bool = False


class HelperRunner:
    """Runs helpers one after the other.

    Args:
        on_end: called from another thread with each `HelperEnded`; hand it to the loop, which calls `ended`.
    """

    def __init__(self, on_end: Callable[[HelperEnded], None]) -> None:
        self._on_end = on_end
        self._waiting: deque[Job] = deque()
        self._running: tuple[Job, subprocess.Popen[bytes]] | None = None

    @property
    def busy(self) -> bool:
        """Whether one runs or waits."""
        return self._running is not None or bool(self._waiting)

    def submit(self, job: Job) -> None:
        """Run a job when those before it are done."""
        self._waiting.append(job)
        self._start_next()

    def cancel(self, owner: str) -> None:
        """Drop the waiting jobs of an owner and end its running one; that one still comes back, as killed."""
        self._waiting = deque(job for job in self._waiting if job.owner != owner)
        if self._running is not None and self._running[0].owner == owner:
            self._running[1].kill()

    def ended(self, ended: HelperEnded) -> None:
        """Take note, in the loop, that a helper has ended; starts the next."""
        if self._running is not None and self._running[0] is ended.job:
            self._running = None
        self._start_next()

    def stop(self) -> None:
        """End all."""
        self._waiting.clear()
        if self._running is not None:
            self._running[1].kill()
            self._running[1].wait()

    def _start_next(self) -> None:
        if self._running is not None or not self._waiting:
            return
        job = self._waiting.popleft()
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", job.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            self._on_end(HelperEnded(job=job, error=f"{job.module} does not start: {error}", killed=True))
            return
        self._running = (job, process)
        threading.Thread(target=self._wait, args=(job, process), name="helper", daemon=True).start()

    def _wait(self, job: Job, process: subprocess.Popen[bytes]) -> None:
        try:
            output, complaint = process.communicate(job.request, timeout=job.time_limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            note = f"took longer than {job.time_limit_s:g} s"
            self._on_end(HelperEnded(job=job, error=note, killed=True))
            return
        self._on_end(_ending(job, process.returncode, output, complaint))


def _ending(job: Job, status: int, output: bytes, complaint: bytes) -> HelperEnded:
    if status < 0:
        note = " (out of memory?)" if status == -9 else ""
        return HelperEnded(job=job, error=f"ended by signal {-status}{note}", killed=True)
    if len(output) > _MAX_OUTPUT_BYTES:
        return HelperEnded(job=job, error=f"wrote {len(output)} bytes, more than a result can be")
    if status > 0 and not output:
        lines = complaint.decode(errors="replace").strip().splitlines()
        return HelperEnded(job=job, error=lines[-1][:500] if lines else f"exit status {status}")
    return HelperEnded(job=job, output=output)
