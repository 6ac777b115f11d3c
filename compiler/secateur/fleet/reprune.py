"""Answers devices for whom no rung fits: finds a rung that was cut before, or has one cut, and ships its recipe."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from pathlib import Path

import msgspec

from secateur.bundle.keys import Keys
from secateur.bundle.reader import RungEntry, open_recut
from secateur.fleet import recut_job
from secateur.fleet.asks import AskRecord
from secateur.fleet.blobs import blob_ref
from secateur.fleet.devices import DeviceStore
from secateur.fleet.recut_job import RecutJob, RecutResult
from secateur.fleet.registry import Registered, Registry
from secateur.fleet.shadow import Send, Shadows
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import (
    Answer,
    AskReprune,
    BlobRef,
    Constraints,
    Desired,
    RecutRef,
    RungMeasurement,
    encode,
)

log = logging.getLogger("secateur.fleet")

MIN_INTERVAL_S = 5.0
CUT_LIMIT_S = 300.0
# A rung that was cut before is taken if it uses at least so much of the tightest constraint: a smaller one would give
# accuracy away.
BUCKET = 0.85
_MAX_RECUTS = 32
_RECIPE_CHUNK_BYTES = 256 << 10


class Refused(ValueError):
    """An ask that cannot be met; the text is the answer."""


class Reprune:
    """The re-prune service."""

    def __init__(
        self,
        *,
        keys: Keys,
        registry: Registry,
        shadows: Shadows,
        devices: DeviceStore,
        record: AskRecord,
        send: Send,
        send_chunk: Callable[[str, BlobRef, int], None],
        folder: Path,
        min_interval_s: float = MIN_INTERVAL_S,
        new_pool: Callable[[], Executor] = recut_job.new_pool,
        cut: Callable[[RecutJob], RecutResult] = recut_job.cut,
    ) -> None:
        """
        Args:
            keys: must hold the ``recut`` key.
            registry, shadows, devices, record: the controller's.
            send: publishes a control message.
            send_chunk: queues a chunk for one device.
            folder: where recipes of cut rungs are kept.
            min_interval_s: a device may have at most one rung cut in this time.
            new_pool: makes the executor that cuts.
            cut: the job itself.
        """
        self._keys = keys
        self._registry = registry
        self._shadows = shadows
        self._devices = devices
        self._record = record
        self._send = send
        self._send_chunk = send_chunk
        self._folder = folder
        self._min_interval_s = min_interval_s
        self._new_pool = new_pool
        self._cut = cut
        self._pool: Executor | None = None
        self._turn = asyncio.Lock()
        self._last_s: dict[str, float] = {}

    def warm(self) -> None:
        """Start the process that cuts, so that the first ask does not wait for its imports."""
        if self._pool is None:
            self._pool = self._new_pool()
            self._pool.submit(recut_job.warm)

    def stop(self) -> None:
        """End the process that cuts, at once."""
        pool, self._pool = self._pool, None
        if isinstance(pool, ProcessPoolExecutor):
            for pid in list(getattr(pool, "_processes", None) or ()):
                os.kill(pid, signal.SIGKILL)
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    async def handle(self, device: str, ask_id: str, ask: AskReprune, ask_bytes: int) -> None:
        """Answer an ask. Never raises: what fails is refused with one line, and noted as an event."""
        began = time.monotonic()
        answers: list[bytes] = []

        def answer(status: str, text: str) -> None:
            answers.append(encode(msgspec.convert({"status": status, "text": text[:1000]}, Answer)))
            self._send(topics.answer(device, ask_id), answers[-1])

        try:
            if not self._record.begin(device, ask_id, ask):
                return
            self._check_rate(device)
            bundle = self._check_bundle(device, ask)
            answer("accepted", "looking for a rung")
            async with self._turn:
                entry, sent, reused = await self._provide(device, bundle, ask)
            accuracy, seconds = entry.metric_value, time.monotonic() - began
            answer("done", f"{entry.id}{', cut before for another ask' if reused else ''}")
            total = ask_bytes + sent + sum(map(len, answers))
            self._record.end(
                device, ask_id, status="done", rung=entry.id, reused=int(reused),
                accuracy=accuracy, seconds=seconds, bytes=total,
            )  # fmt: skip
            text = f"rung {entry.id} {'reused' if reused else 'cut'} in {seconds:.1f} s"
            self._devices.note(device, "reprune", text, ask=ask_id, rung=entry.id, bytes=total)
            log.info("%s: %s", device, text)
        except Exception as error:
            if not isinstance(error, ValueError):
                log.exception("re-prune for %s failed", device)
            text = " ".join(str(error).split())[:500] or type(error).__name__
            answer("refused", text)
            try:
                self._record.end(device, ask_id, status="refused", text=text, seconds=time.monotonic() - began)
                self._devices.note(device, "reprune", f"refused: {text}", ask=ask_id)
            except ValueError as second:
                log.error("%s", second)

    def _check_rate(self, device: str) -> None:
        now_s = time.monotonic()
        since_s = now_s - self._last_s.get(device, -self._min_interval_s)
        if since_s < self._min_interval_s:
            raise Refused(f"asked again after {since_s:.1f} s; at most one rung per {self._min_interval_s:g} s is cut")
        self._last_s[device] = now_s

    def _check_bundle(self, device: str, ask: AskReprune) -> Registered:
        wanted = self._shadows.get(device)
        if wanted is None or wanted.model is None or wanted.model.manifest.sha256 != ask.manifest_sha256:
            raise Refused(f"bundle {ask.manifest_sha256[:12]} is not the one that this device should run")
        if ask.constraints == Constraints():
            raise Refused("the ask has no constraint: nothing to cut for")
        return self._registry.bundle(ask.manifest_sha256)

    async def _provide(self, device: str, bundle: Registered, ask: AskReprune) -> tuple[RungEntry, int, bool]:
        """Ship a rung; return its entry, the bytes of the messages, and whether it had been cut before."""
        wanted = self._shadows.get(device)
        held = {recut.recipe.sha256 for recut in wanted.recuts} if wanted else set()
        known = self._registry.recuts(bundle.manifest_sha256)
        ratio = latency_ratio([*bundle.manifest.rungs, *(row.entry for row in known)], ask.measurements)
        for row in known:
            if row.entry.precision != ask.precision:
                continue
            path = self._registry.blob_path(row.recipe_sha256)
            if row.recipe_sha256 not in held and path is not None and fits(row.entry, ask.constraints, ratio):
                recipe = await asyncio.to_thread(path.read_bytes)
                return row.entry, self._ship(device, row.envelope, recipe), True
        if bundle.workspace is None:
            raise Refused(f"bundle {bundle.manifest.name} was pushed without its workspace: no rung can be cut from it")
        job = RecutJob(
            workspace=str(bundle.workspace),
            profile=bundle.manifest.profile,
            keys=str(self._keys.folder),
            constraints=ask.constraints,
            measurements=ask.measurements,
        )
        result = await self._run(job)
        recut = open_recut(self._keys.root, result.envelope, bundle.manifest, bundle.manifest_sha256)
        ref = blob_ref(result.recipe, _RECIPE_CHUNK_BYTES)
        if recut.rung.recipe != ref.sha256:
            raise Refused(f"rung {recut.rung.id}: its recipe is not the one that was signed")
        path = self._folder / f"{ref.sha256}.recipe"
        await asyncio.to_thread(_write, path, result.recipe)
        self._registry.add_recut(bundle.manifest_sha256, recut.rung, result.envelope, ref, path)
        return recut.rung, self._ship(device, result.envelope, result.recipe), False

    def _ship(self, device: str, envelope: bytes, recipe: bytes) -> int:
        ref = blob_ref(recipe, _RECIPE_CHUNK_BYTES)
        added = RecutRef(envelope=base64.b64encode(envelope).decode(), recipe=ref)

        def change(desired: Desired) -> Desired:
            kept = [recut for recut in desired.recuts if recut.recipe.sha256 != ref.sha256][-(_MAX_RECUTS - 1) :]
            return msgspec.structs.replace(desired, recuts=(*kept, added))

        _, shadow_bytes = self._shadows.change(device, change)
        # The device has not asked for the recipe yet, but it will; sent at once it saves a round trip.
        for index in range(ref.chunk_count):
            self._send_chunk(device, ref, index)
        return shadow_bytes + len(recipe)

    async def _run(self, job: RecutJob) -> RecutResult:
        self.warm()
        assert self._pool is not None
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(loop.run_in_executor(self._pool, self._cut, job), CUT_LIMIT_S)
        except asyncio.TimeoutError:
            self.stop()
            raise Refused(f"no rung was cut within {CUT_LIMIT_S:g} s") from None
        except BrokenExecutor:
            self.stop()
            raise Refused("the process that cuts rungs ended; is this host out of memory?") from None


def latency_ratio(rungs: Sequence[RungEntry], measurements: Sequence[RungMeasurement]) -> float:
    """Return how many times longer this device takes than planned: the median over measured rungs, or 1."""
    planned = {rung.id: rung.latency_ms for rung in rungs}
    found = [m.latency_p50_ms / planned[m.rung] for m in measurements if m.rung in planned]
    return statistics.median(found) if found else 1.0


def fits(entry: RungEntry, constraints: Constraints, ratio: float) -> bool:
    """Whether a rung meets constraints on a device, and is not much smaller than it need be.

    Args:
        entry: the rung.
        constraints: in the device's own units.
        ratio: from `latency_ratio`; energy is taken to scale alike.
    """
    pairs = (
        (entry.latency_ms * ratio, constraints.latency_ms),
        (entry.memory_mb, constraints.memory_mb),
        (entry.energy_mj * ratio, constraints.energy_mj),
    )
    used = [value / limit for value, limit in pairs if limit is not None]
    return bool(used) and max(used) <= 1.0 and max(used) >= BUCKET


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
