"""The agent's one event loop: link, worker, helpers and time put events into a queue, and this empties it.

It stays small: neither numpy nor a runtime is imported here. What is heavy runs in the worker or in a helper process.
"""

from __future__ import annotations

import os
import queue
import socket
import time
from typing import Any, Literal

from secateur_agent import pack_timing
from secateur_agent.asks import Asks
from secateur_agent.command_runner import CommandRunner
from secateur_agent.commands import CommandLog
from secateur_agent.deciding import Deciding
from secateur_agent.device_report import DeviceReport
from secateur_agent.downloads import Downloads
from secateur_agent.enrolment import Enrolment
from secateur_agent.governing import Governing
from secateur_agent.helper_processes import HelperEnded, HelperRunner
from secateur_agent.host_messages import HostMessages
from secateur_agent.inference.control import Loaded, LoadFailed, StatsReply, WorkerExited
from secateur_agent.inference.listen import endpoint
from secateur_agent.install import installer, recuts
from secateur_agent.install.ladder_keeper import LadderKeeper
from secateur_agent.install.workplace import Workplace
from secateur_agent.link import Connected, Disconnected, Outbox, Received
from secateur_agent.measurements import Measurements
from secateur_agent.offline import AnyLink
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import Ack, Answer, Desired
from secateur_agent.reporting import Reporter, as_event_kind, loaded_event
from secateur_agent.sensors import discover, read_all
from secateur_agent.sensors.process import ProcessMemory
from secateur_agent.service_manager import ServiceManager
from secateur_agent.shadow_state import DesiredShadow
from secateur_agent.startup import Setup
from secateur_agent.store import StoreError
from secateur_agent.switching import FromWorker, ServingWorker
from secateur_agent.transfer.download import ChunkError

INBOX_EVENTS = 1024


class Stop:
    """Put into the inbox to end the loop."""


class Supervisor:
    """All of one device's agent.

    Args:
        setup: configuration, profile, trust root, store, key: what `secateur_agent.startup` has checked.
        listening: the socket that the worker serves on.
        inbox: the queue that all events come through.
        link: the connection to the broker; it puts its events into ``inbox``.
        boot: the id of this start.
    """

    def __init__(self, setup: Setup, listening: socket.socket, inbox: queue.Queue[Any], link: AnyLink, boot: str) -> None:
        self._setup = setup
        self._config = config = setup.config
        self._device = config.device
        self._inbox = inbox
        self._link = link
        self._boot = boot
        self._endpoint = endpoint(listening)
        self._outbox = Outbox(setup.state_path / "outbox.sqlite", boot)
        self._reporter = Reporter(config.device, boot, link, self._outbox, setup.clock)
        self._asks = Asks(config.device, boot, link)
        self._helpers = HelperRunner(inbox.put)
        self._measurements = Measurements(setup.state_path / "measurements.json")
        self._downloads = Downloads(
            setup.store, lambda names: link.subscribe(*names), lambda names: link.unsubscribe(*names), self._asks.chunks
        )
        place = Workplace(
            store=setup.store,
            state_path=setup.state_path,
            trust_root=setup.trust_root,
            trust_root_path=setup.trust_root_path,
            profile=setup.profile,
            downloads=self._downloads,
            helpers=self._helpers,
            measurements=self._measurements,
            announce=self._announce,
            changed=self._changed,
            sysfs_root=setup.sysfs_root,
        )
        self._installer = installer.Installer(place)
        self._recuts = recuts.Recuts(place)
        self._ladder = LadderKeeper(place, self._installer, self._recuts)
        self._shadow = DesiredShadow(setup.state_path / "desired.json", config.device, setup.trust_root)
        self._worker = ServingWorker(listening, inbox.put)
        self._sensors = [*discover(setup.sysfs_root), ProcessMemory(lambda: self._worker.pid)]
        self._governing = Governing(setup.state_path / "governor.json", setup.profile, time.monotonic())
        self._deciding = Deciding(
            setup.profile,
            self._sensors,
            self._governing,
            self._ladder,
            self._measurements,
            self._shadow,
            self._worker,
            self._asks,
            self._announce,
            lambda: self._installer.state.busy or self._recuts.busy,
        )
        self._commands = CommandRunner(
            config.device,
            CommandLog(setup.state_path / "commands.json", config.device, setup.trust_root),
            place,
            self._installer,
            link.publish,
            lambda: self._ladder.ladder,
            lambda: self._report.diagnosis(),
            self._ask_restart,
        )
        self._enrolment = Enrolment(setup, boot, link, self._announce, self._introduce)
        self._messages = HostMessages(config.device, self._shadow, self, lambda text: self._announce("fault", text))
        self._report = DeviceReport(
            setup,
            boot,
            self._endpoint,
            self._installer,
            self._ladder,
            self._shadow,
            self._worker,
            self._downloads,
            self._outbox,
            self._sensors,
            self._measurements,
        )
        self._stale = True
        self._undecided = False
        self._unreported = True
        self._ending: Literal["", "stop", "restart"] = ""
        self._next_report_s = 0.0

    def run(self) -> Literal["stop", "restart"]:
        """Serve until told to end; return whether to begin again."""
        manager = ServiceManager()
        self._begin()
        next_tick_s = time.monotonic()
        while not self._ending:
            wait_s = next_tick_s - time.monotonic()
            try:
                event = self._inbox.get(timeout=wait_s) if wait_s > 0 else self._inbox.get_nowait()
                self._safely(self._handle, event)
            except queue.Empty:
                pass
            now_s = time.monotonic()
            if now_s >= next_tick_s:
                next_tick_s = now_s + self._config.tick_s
                self._safely(self._tick, now_s)
                manager.alive(now_s)
            elif self._stale:
                self._safely(self._settle, now_s)
        if self._ending == "stop":
            manager.ending()
        self._end()
        return "restart" if self._ending == "restart" else "stop"

    # --- beginning and end --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Serve what is installed, and only then look for the host."""
        for problem in (self._installer.problem, self._shadow.problem):
            if problem:
                self._announce("fault", problem)
        desired = self._shadow.desired
        if desired is not None:
            self._recuts.want(desired.recuts)
        self._ladder.refresh(time.monotonic())
        self._deciding.decide(time.monotonic(), self._deciding.read())
        if self._worker.pid is None:
            self._worker.start(time.monotonic())
        if desired is not None and desired.model is not None and desired.version > self._installer.state.version:
            self._installer.want(desired.model, desired.version)
        else:
            self._installer.resume()
        self._link.subscribe(
            topics.down(self._device, "shadow"),
            topics.down(self._device, "ack"),
            topics.answer(self._device, "x").removesuffix("x") + "+",
            topics.command(self._device, "x").removesuffix("x") + "+",
            topics.down(self._device, "b/#"),
        )
        self._enrolment.begin()
        self._commands.settle()
        print(f"secateur-agent: {self._device} serves at {self._endpoint}", flush=True)

    def _end(self) -> None:
        self._helpers.stop()
        self._worker.stop()
        self._link.stop()
        self._governing.keep()
        try:
            self._outbox.close()
            self._setup.clock.keep(force=True)
        except StoreError as error:
            print(f"secateur-agent: {error}", flush=True)

    # --- events -------------------------------------------------------------------------------------------------------

    def _handle(self, event: object) -> None:
        now_s = time.monotonic()
        if isinstance(event, Received):
            self._messages.take(event)
            self._enrolment.tick()
        elif isinstance(event, FromWorker):
            self._on_worker(event, now_s)
        elif isinstance(event, HelperEnded):
            self._on_helper(event)
        elif isinstance(event, Connected):
            self._downloads.rewind(now_s)
            self._introduce()
        elif isinstance(event, Disconnected) and event.fault:
            self._announce("fault", event.reason)
        elif isinstance(event, Disconnected):
            print(f"secateur-agent: link: {event.reason}", flush=True)
        elif isinstance(event, Stop):
            self._ending = "stop"

    def _on_helper(self, ended: HelperEnded) -> None:
        self._helpers.ended(ended)
        if ended.job.owner == installer.OWNER:
            self._installer.on_helper(ended)
        elif ended.job.owner == recuts.OWNER:
            self._recuts.on_helper(ended)
        elif ended.job.owner == self._ladder.OWNER:
            self._ladder.on_helper(ended)
        else:
            self._commands.on_helper(ended)
        self._stale = True

    def _on_worker(self, message: FromWorker, now_s: float) -> None:
        event = self._worker.take(message, now_s)
        if isinstance(event, StatsReply):
            self._deciding.count(now_s)
        elif isinstance(event, Loaded):
            self._announce("worker", *loaded_event(event))
            self._unreported = True
        elif isinstance(event, LoadFailed):
            self._announce("fault", f"{event.rung} does not load: {event.error}")
            self._ladder.load_failed(event.rung, now_s)
            self._stale = True
        elif isinstance(event, WorkerExited):
            self._announce("worker", f"the worker ended with status {event.returncode}; a new one is started")
            wanted = self._worker.wanted
            if self._worker.out_of_memory(now_s) and wanted is not None:
                self._deciding.step_below(wanted.rung, now_s)
                self._announce("worker", f"killed twice in a minute, likely for its memory: stepping below {wanted.rung}")
                self._stale = True
            self._unreported = True

    def on_desired(self, desired: Desired) -> None:
        """Take up a desired shadow (`Handlers`)."""
        self._recuts.want(desired.recuts)
        if desired.model is not None:
            self._installer.want(desired.model, desired.version)
        self._undecided = True
        self._changed()

    def on_ack(self, ack: Ack) -> None:
        """Forget samples that the host has stored (`Handlers`)."""
        self._reporter.acknowledged(ack)
        self._enrolment.acknowledged(ack.boot)
        self._reporter.send_held(time.monotonic())

    def on_answer(self, ask_id: str, answer: Answer) -> None:
        """Note the answer to an ask (`Handlers`)."""
        if not self._enrolment.answer(ask_id, answer):
            self._announce("decision", f"ask {ask_id}: {answer.status}. {answer.text}".rstrip(". "), {"ask": ask_id})

    def on_command(self, command_id: str, payload: bytes) -> None:
        """Carry out a command (`Handlers`)."""
        self._commands.take(command_id, payload, self._setup.clock.now_s())

    def on_chunk(self, sha256: str, index: int, data: bytes) -> None:
        """Take a chunk of the download (`Handlers`)."""
        now_s = time.monotonic()
        try:
            self._downloads.on_chunk(sha256, index, data, now_s)
        except ChunkError as error:
            self._announce("fault", f"chunk refused: {error}")
        except StoreError as error:
            if self._downloads.owner == pack_timing.OWNER:
                self._commands.fail_pack(str(error))
                return
            owner = self._installer if self._downloads.owner == installer.OWNER else self._recuts
            owner.fail(str(error))
            return
        self._downloads.ask_missing(now_s)
        if self._downloads.done or not index:
            self._installer.poll()
            self._commands.poll()
            self._stale = True

    # --- time ---------------------------------------------------------------------------------------------------------

    def _tick(self, now_s: float) -> None:
        self._worker.tick(now_s)
        self._enrolment.tick()
        self._downloads.ask_missing(now_s)
        self._installer.poll()
        self._commands.poll()
        report = now_s >= self._next_report_s
        decide = self._deciding.due()
        readings = read_all(self._sensors) if report else self._deciding.read() if decide else None
        if report and readings is not None:
            self._next_report_s = now_s + self._config.report_s
            try:
                self._reporter.sample(
                    now_s, self._worker.rung, self._worker.requests, self._worker.failed_requests, readings
                )
                self._reporter.send_held(now_s)
                self._setup.clock.keep()
            except StoreError as error:
                self._announce("fault", str(error))
        if self._ladder.expire(now_s):
            self._stale = True
        self._settle(now_s, readings)

    def _settle(self, now_s: float, readings: dict[str, Any] | None = None) -> None:
        """Bring what is served and reported in line with what is installed."""
        decide = readings is not None
        if self._stale:
            self._stale = False
            decide = self._ladder.refresh(now_s) or self._undecided or decide
            self._undecided = False
            self._recuts.step(self._ladder.ladder, free=not self._installer.state.busy)
            if not (self._installer.state.busy or self._recuts.busy or self._helpers.busy):
                self._ladder.collect(self._commands.kept_blobs())
        if decide:
            self._deciding.decide(now_s, readings if readings is not None else self._deciding.read())
        if self._unreported or self._downloads.owner == installer.OWNER:
            self._unreported = not self._reporter.report_shadow(self._report.reported())

    # --- small things that parts call ---------------------------------------------------------------------------------

    def _announce(self, kind: str, text: str, evidence: dict[str, Any] | None = None) -> None:
        self._reporter.event(as_event_kind(kind), text, evidence)
        self._unreported = True

    def _introduce(self) -> None:
        self._reporter.online(self._enrolment.birth(self._report.birth()), self._setup.key, self._report.reported())

    def _changed(self) -> None:
        """What may be served has changed. A step of an install that is under way is reported at once, for the host waits for
        it; anything else once, when its consequences are known: a shadow is a kilobyte."""
        self._stale = self._unreported = True
        if self._installer.state.busy:
            self._reporter.report_shadow(self._report.reported())

    def _ask_restart(self) -> None:
        self._ending = "restart"

    def _safely(self, step: Any, *arguments: Any) -> None:
        """One event that cannot be handled must not end the agent: what is served goes on being served."""
        try:
            step(*arguments)
        except Exception as error:
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            line = f"{os.path.basename(where.tb_frame.f_code.co_filename)}:{where.tb_lineno}" if where else "?"
            self._announce("fault", f"internal error, the event is dropped: {type(error).__name__}: {error} ({line})")
