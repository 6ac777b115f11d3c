"""Keeps a worker running and serving the rung that was decided upon, whatever happens to it."""

from __future__ import annotations

import signal
import socket
from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

from secateur_agent.inference.control import (
    Loaded,
    LoadFailed,
    LoadRung,
    Replacing,
    Reply,
    StatsReply,
    WorkerExited,
    WorkerProcess,
)
from secateur_agent.protocol.messages import SwitchMode

_KILLS_WITHIN_S = 60.0
_KILLS = 2
_SHORT_LIFE_S = 5.0
_LONGEST_PAUSE_S = 10.0
_STATS_EVERY_TICKS = 2


class FromWorker(msgspec.Struct, frozen=True):
    """What a worker said. ``generation`` tells workers apart: one that is gone may have spoken before it went."""

    generation: int
    event: Reply | WorkerExited


class ServingWorker:
    """The worker, started again whenever it ends. The listening socket stays open, so requests wait meanwhile.

    Call all methods from the thread that lives as long as the agent: Linux ends the worker with the thread that
    started it.

    Args:
        listening: the socket that it serves on.
        hand_over: takes `FromWorker` from other threads; must only put it into a queue.

    Attributes:
        rung: the rung that serves, '' before the first.
        serving: what was asked for when it was loaded, None before the first; rungs of two models may have one id.
        loaded: what is known of it, None before the first.
        mode: how it took over from the rung before: ``overlap`` or ``replace``, '' if there was none.
        requests: answered since the agent started; ``failed_requests`` of those with a 5xx status.
        stats: the latest counters of this worker, None before the first.
    """

    def __init__(self, listening: socket.socket, hand_over: Callable[[FromWorker], object]) -> None:
        self._listening = listening
        self._hand_over = hand_over
        self._worker: WorkerProcess | None = None
        self._generation = 0
        self._wanted: LoadRung | None = None
        self._loading: deque[LoadRung] = deque()
        self._started_s = 0.0
        self._start_at_s: float | None = None
        self._short_lives = 0
        self._kills_s: deque[float] = deque(maxlen=_KILLS)
        self._before = (0, 0, 0)
        self._awaiting_stats = False
        self._ticks = 0
        self._stopping = False
        self.stats: StatsReply | None = None
        self.serving: LoadRung | None = None
        self.loaded: Loaded | None = None
        self.mode: SwitchMode | Literal[""] = ""
        self.rung = ""

    @property
    def pid(self) -> int | None:
        """Process id of the worker, None while there is none."""
        return self._worker.pid if self._worker is not None else None

    @property
    def wanted(self) -> LoadRung | None:
        """The rung that was asked for last."""
        return self._wanted

    @property
    def rss_mb(self) -> float | None:
        """Resident memory of the worker; 0 while there is none, None while it is not known."""
        if self._worker is None:
            return 0.0
        return self.stats.rss_mb if self.stats is not None else None

    @property
    def requests(self) -> int:
        """Inference requests answered since the agent started."""
        return self._before[0] + (self.stats.requests if self.stats else 0)

    @property
    def failed_requests(self) -> int:
        """Those that failed for a reason of this device."""
        return self._before[1] + (self.stats.failed_requests if self.stats else 0)

    @property
    def inferences(self) -> int:
        """Samples inferred since the agent started; a batch counts each of its samples, for each costs energy."""
        return self._before[2] + (self.stats.inferences if self.stats else 0)

    def start(self, now_s: float) -> None:
        """Start the worker and have it load the rung that is wanted."""
        self._generation += 1
        generation = self._generation
        self._start_at_s = None
        self._started_s = now_s
        self._awaiting_stats = False
        self._loading.clear()
        self._worker = WorkerProcess(
            self._listening, lambda event: self._hand_over(FromWorker(generation, event)), accept_at_once=not self._wanted
        )
        if self._wanted is not None:
            self._load(self._worker, self._wanted)

    def serve(self, load: LoadRung, mode: SwitchMode = "overlap") -> None:
        """Have the worker serve this rung; nothing happens if that was asked for already.

        Args:
            load: the rung.
            mode: ``overlap`` builds it beside the one that serves; ``replace`` ends that first and with it all memory that
                the worker holds, while requests wait.
        """
        if load == self._wanted:
            return
        self._wanted = load
        if self._worker is not None:
            self._load(self._worker, load, mode)

    def tick(self, now_s: float) -> None:
        """Ask for the counters now and then; start a worker whose pause is over."""
        if self._worker is not None:
            self._ticks += 1
            if self._ticks % _STATS_EVERY_TICKS == 0 and not self._awaiting_stats:
                self._awaiting_stats = True
                self._worker.request_stats()
        elif self._start_at_s is not None and now_s >= self._start_at_s:
            self.start(now_s)

    def take(self, message: FromWorker, now_s: float) -> Reply | WorkerExited | None:
        """Take what a worker said.

        Returns:
            The event, if it matters to others: a rung loaded or not, new counters, a worker that ended unasked.
        """
        event = message.event
        if message.generation != self._generation:
            return None
        if isinstance(event, StatsReply):
            self.stats = event
            self._awaiting_stats = False
        elif isinstance(event, Replacing):
            self.loaded, self.serving, self.rung, self.mode = None, None, "", ""
            if self.stats is not None:  # the counters count on; what the new image holds is not known yet
                self.stats = msgspec.structs.replace(self.stats, rss_mb=None)
        elif isinstance(event, Loaded):
            before, self.serving = self.serving, self._loading.popleft()
            self.mode = "replace" if event.replaced else "overlap" if before else ""
            self.loaded, self.rung = event, event.rung
        elif isinstance(event, LoadFailed):
            self._loading.popleft()
            if self._wanted is not None and event.rung == self._wanted.rung:
                self._wanted = None
        elif isinstance(event, WorkerExited):
            self._ended(event, now_s)
            return None if self._stopping else event
        return event

    def out_of_memory(self, now_s: float) -> bool:
        """Return whether the worker was killed so often of late that the memory must be too small for its rung."""
        often = len(self._kills_s) == _KILLS and now_s - self._kills_s[0] <= _KILLS_WITHIN_S
        if often:
            self._kills_s.clear()
        return often

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the worker after the requests that run now."""
        self._stopping = True
        if self._worker is None:
            return
        self._worker.terminate()
        if self._worker.wait(timeout_s) is None:
            self._worker.kill()
            self._worker.wait(timeout_s)

    def _load(self, worker: WorkerProcess, load: LoadRung, mode: SwitchMode = "overlap") -> None:
        """Have a worker load a rung; it answers each request, in order."""
        self._loading.append(load)
        worker.load(msgspec.structs.replace(load, replace=mode == "replace"))

    def _ended(self, event: WorkerExited, now_s: float) -> None:
        self._before = (self.requests, self.failed_requests, self.inferences)
        self._worker, self.stats, self.loaded, self.serving = None, None, None, None
        self.rung, self.mode = "", ""
        if self._stopping:
            return
        if event.returncode == -signal.SIGKILL:
            self._kills_s.append(now_s)
        # At once, unless it does not live at all: then with growing pauses, so that it does not eat the processor.
        self._short_lives = self._short_lives + 1 if now_s - self._started_s < _SHORT_LIFE_S else 0
        if self._short_lives <= 1:
            self.start(now_s)
        else:
            self._start_at_s = now_s + min(_LONGEST_PAUSE_S, 0.25 * 2.0**self._short_lives)
