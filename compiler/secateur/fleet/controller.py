"""The controller: one MQTT session, and everything that happens when a device speaks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from secateur.bundle.keys import Keys
from secateur.fleet.admission import Admission, Policy
from secateur.fleet.asks import AskRecord
from secateur.fleet.commands import Commands
from secateur.fleet.devices import DeviceStore
from secateur.fleet.enrolment import Enrolments
from secateur.fleet.ingest import Ingest, Outcome
from secateur.fleet.packs import Packs
from secateur.fleet.publisher import GATHER_S, Publisher
from secateur.fleet.registry import Registry
from secateur.fleet.reprune import Reprune
from secateur.fleet.samples import SampleStore
from secateur.fleet.session import BrokerUrl, Session
from secateur.fleet.shadow import Shadows
from secateur.fleet.steering import Steering
from secateur.fleet.store import Store, StoreError
from secateur.fleet.traffic import Traffic
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import Ack, AskChunks, encode

log = logging.getLogger("secateur.fleet")

_HOUSEKEEPING_S = 2.0
_HERE = ("ready", "alert")
_ANSWER_EXPIRY_S = 30.0
"""A device that comes later asks again, and must not hear what was true of it before."""


class ControllerError(ValueError):
    """The controller cannot run with what it was given."""


class Controller:
    """A fleet. Attributes are the parts that the REST API shows."""

    def __init__(
        self,
        state: Path,
        keys: Keys,
        address: BrokerUrl,
        *,
        bytes_per_s: float = 0.0,
        gather_s: float = GATHER_S,
        enrolment: Policy = "open",
    ) -> None:
        """
        Args:
            state: folder of the database and of recipes that are cut.
            keys: must hold the ``command`` and ``recut`` keys.
            address: the broker.
            bytes_per_s: cap on published chunks; 0 for none.
            gather_s: how long a broadcast waits for all its devices.
            enrolment: whether a device without a token is trusted on first use.

        Raises:
            ControllerError: if a key is missing.
            secateur.fleet.store.StoreError: if the database cannot be opened.
        """
        missing = [role for role in ("command", "recut") if role not in keys.signing]
        if missing:
            raise ControllerError(f"keys {keys.folder}: the {' and '.join(missing)} key is missing; this host needs it")
        self.store = Store(state / "fleet.sqlite")
        self.devices = DeviceStore(self.store)
        self.samples = SampleStore(self.store)
        self.registry = Registry(self.store, keys.root)
        self.traffic = Traffic(self.store)
        self.session = Session(address, _client_id(state), (f"{topics.ROOT}/d/+/up/#",), self._receive, self._connected)
        self.shadows = Shadows(self.store, keys, self.session.send)
        self.commands = Commands(self.store, keys, self.session.send)
        self.enrolments = Enrolments(self.store)
        admission = Admission(self.devices, enrolment)
        self.ingest = Ingest(self.store, self.devices, self.samples, self.commands, admission)
        self.asks = AskRecord(self.store)
        self.publisher = Publisher(
            self.session,
            self.traffic,
            blob_path=self.registry.blob_path,
            desired=self.shadows.get,
            present=lambda device: self._states.get(device, "") in _HERE,
            on_fault=self._fault,
            packs=self.commands.open_packs,
            bytes_per_s=bytes_per_s,
            gather_s=gather_s,
        )
        self.reprune = Reprune(
            keys=keys,
            registry=self.registry,
            shadows=self.shadows,
            devices=self.devices,
            record=self.asks,
            send=self.session.send,
            send_chunk=self.publisher.repair,
            folder=state / "recuts",
        )
        self.packs = Packs(self.registry, self.commands, state / "packs")
        self.steering = Steering(
            devices=self.devices,
            registry=self.registry,
            shadows=self.shadows,
            traffic=self.traffic,
            announce=self.publisher.announce,
        )
        self._states = {device.device: device.state for device in self.devices.all()}
        self.stopping = False
        self._work = asyncio.Event()
        self._stored = asyncio.Event()
        self._answering: set[asyncio.Task[None]] = set()
        self._faults: dict[tuple[str, str], float] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the controller for the length of the block."""
        if self.asks.interrupted():
            log.warning("re-prune asks that were being answered when the host ended are refused; devices ask again")
        if self.registry.any_workspace():
            self.reprune.warm()
        tasks = [
            asyncio.create_task(run())
            for run in (self.session.run, self._ingest_loop, self.publisher.run, self._housekeeping)
        ]
        try:
            yield
        finally:
            for task in (*tasks, *self._answering):
                task.cancel()
            await asyncio.gather(*tasks, *self._answering, return_exceptions=True)
            self.reprune.stop()
            with contextlib.suppress(StoreError):
                self.traffic.save()
            self.store.close()

    def status(self) -> dict[str, Any]:
        """Return the state of the controller itself."""
        return {
            "broker": str(self.session.address),
            "connected": self.session.connected,
            "devices": len(self._states),
            "waiting_messages": self.ingest.waiting,
            "dropped_messages": self.ingest.dropped,
            "refused_messages": self.ingest.refused,
            "enrolment": self.ingest.admission.policy,
            "unenrolled_messages": self.ingest.admission.dropped,
            "published_bytes": self.session.published_bytes,
            "broadcast_bytes": self.publisher.broadcast_bytes,
            "repair_bytes": self.publisher.repair_bytes,
        }

    def end_streams(self) -> None:
        """Let everybody who waits in `stored` go, for good: the host ends."""
        self.stopping = True
        self._stored.set()

    async def stored(self, limit_s: float) -> None:
        """Wait until something new was stored, but no longer than ``limit_s``."""
        event = self._stored
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(event.wait(), limit_s)

    def _receive(self, topic: str, payload: bytes) -> None:
        self.ingest.receive(topic, payload)
        self._work.set()

    def _connected(self) -> None:
        self.shadows.publish_all()
        self.commands.publish_open()

    async def _ingest_loop(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                outcome = await asyncio.to_thread(self.ingest.process)
            except StoreError as error:
                log.error("%s; nothing is acknowledged until it can be written", error)
                await asyncio.sleep(1.0)
                self._work.set()
                continue
            if self.ingest.waiting:
                self._work.set()
            try:
                self._act(outcome)
            except Exception:
                log.exception("unexpected error; going on")
            self._stored.set()
            self._stored = asyncio.Event()

    def _act(self, outcome: Outcome) -> None:
        for device, boot, seq in outcome.acknowledged:
            self.session.send(topics.down(device, "ack"), encode(Ack(boot=boot, seq=seq)))
        for device, ask_id, answer in outcome.answers:
            self.session.send(topics.answer(device, ask_id), encode(answer), expiry_s=_ANSWER_EXPIRY_S)
        self._states.update(outcome.states)
        for device, reported in outcome.reported:
            self.publisher.heard(device, reported)
        for device, identity in outcome.ended:
            self.commands.clear(device, identity)
        if outcome.ended:
            self.packs.collect()
        for device, ask_id, ask, size in outcome.asked:
            if isinstance(ask, AskChunks):
                refusal = self.publisher.asked(device, ask)
                if refusal:
                    self._fault(device, refusal)
                continue
            task = asyncio.create_task(self.reprune.handle(device, ask_id, ask, size))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            try:
                for device, identity in self.commands.expire():
                    self._fault(device, f"command {identity} expired without an end")
                self.traffic.save()
            except StoreError as error:
                log.error("%s", error)

    def _fault(self, device: str, text: str) -> None:
        """Log and record a fault; the same one at most every ten seconds."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._faults.get((device, text), -10.0) < 10.0:
            return
        if len(self._faults) > 1000:
            self._faults.clear()
        self._faults[device, text] = now_s
        log.warning("%s%s", f"{device}: " if device else "", text)
        with contextlib.suppress(StoreError):
            self.devices.note(device, "fault", text)


def _client_id(state: Path) -> str:
    """The same id after each restart, so that the broker drops a connection of before; another for each state folder."""
    path = state / "client-id"
    if not path.exists():
        path.write_text(f"secateur-{uuid.uuid4().hex[:16]}\n")
    return path.read_text().strip()
