"""Rungs that were cut later, one by one: fetched, verified, written, tried, and only then part of the ladder.

Unlike a model, a re-cut rung that fails changes nothing: the ladder stays as it is. So there is no state to keep but
which ones are ready and which have failed; whatever is interrupted starts over.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
from typing import Literal

import msgspec

from secateur_agent.bundle.manifest import BundleError, Recut, RungEntry, open_recut
from secateur_agent.helper_processes import HelperEnded, Job
from secateur_agent.install.machine import Failure
from secateur_agent.install.materialising import materialise_error, materialise_job
from secateur_agent.install.trial import Trial
from secateur_agent.install.workplace import Workplace
from secateur_agent.installed_ladder import InstalledLadder
from secateur_agent.protocol.messages import RecutRef
from secateur_agent.store import StoreError, write_atomic
from secateur_agent.trust import TrustError

OWNER = "recut"


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A re-cut rung that passed its trial here."""

    manifest_sha256: str
    rung: RungEntry
    ref: RecutRef


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is on disk: by digest of the envelope. A failure's ``manifest_sha256`` is that digest, too."""

    ready: dict[str, Ready] = {}
    failures: dict[str, Failure] = {}


class Recuts:
    """The re-cut rungs of the desired shadow.

    Args:
        place: store, downloads, helpers and limits.
    """

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._path = place.state_path / "recuts.json"
        self._kept = Kept()
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            self._kept = msgspec.json.decode(self._path.read_bytes(), type=Kept)
        self._wanted: dict[str, RecutRef] = {}
        self._current = ""
        self._phase: Literal["", "fetch", "materialise", "try"] = ""
        self._opened: Recut | None = None
        self._ladder: InstalledLadder | None = None
        self._job: Job | None = None
        self._trial: Trial | None = None

    @property
    def busy(self) -> bool:
        """Whether one is being installed."""
        return bool(self._current)

    def want(self, refs: tuple[RecutRef, ...]) -> None:
        """Take up the list of the desired shadow; those that are not in it any more leave the ladder."""
        self._wanted = {_digest(ref): ref for ref in refs}
        kept = {d: f for d, f in self._kept.failures.items() if d in self._wanted and not f.passing}
        self._save(msgspec.structs.replace(self._kept, failures=kept))
        self._place.changed()

    def entries(self, manifest_sha256: str) -> list[RungEntry]:
        """Return the rungs that may run as part of this model, each as its signed envelope describes it."""
        return [
            ready.rung
            for digest, ready in self._kept.ready.items()
            if digest in self._wanted and ready.manifest_sha256 == manifest_sha256
        ]

    def refs(self, manifest_sha256: str, rung: str) -> tuple[RecutRef, ...]:
        """Return what a rung of this model was made from, empty if it is not a re-cut one."""
        kept = self._kept.ready.values()
        return tuple(r.ref for r in kept if r.manifest_sha256 == manifest_sha256 and r.rung.id == rung)

    def kept_blobs(self, models: set[str]) -> set[str]:
        """Return the digests of the recipes that are in use or wanted."""
        ready = {each.ref.recipe.sha256 for each in self._kept.ready.values() if each.manifest_sha256 in models}
        return ready | {ref.recipe.sha256 for ref in self._wanted.values()}

    def step(self, ladder: InstalledLadder | None, free: bool) -> None:
        """Go on, if there is something to do.

        Args:
            ladder: the committed model.
            free: whether nothing else is being installed. If not, what is under way is given up and starts over later.
        """
        if not free or ladder is None or (self._ladder and self._ladder.manifest_sha256 != ladder.manifest_sha256):
            self._stop()
        if not free or ladder is None:
            return
        if not self._current:
            self._begin(ladder)
        if self._phase == "fetch" and self._place.downloads.owner == OWNER and self._place.downloads.done:
            self._materialise()

    def on_helper(self, ended: HelperEnded) -> None:
        """Take the result of a helper of this owner."""
        if self._phase == "materialise" and ended.job is self._job:
            if error := materialise_error(ended):
                self._fail(error, passing=ended.killed)
            else:
                self._try()
        elif self._phase == "try" and self._trial is not None and self._trial.take(ended):
            self._tried(self._trial)

    def fail(self, reason: str) -> None:
        """Give up the present one for something that may pass (a full disk)."""
        self._fail(reason, passing=True)

    def _begin(self, ladder: InstalledLadder) -> None:
        for digest, ref in self._wanted.items():
            if digest in self._kept.ready or digest in self._kept.failures:
                continue
            self._current, self._ladder = digest, ladder
            try:
                envelope = base64.b64decode(ref.envelope, validate=True)
                self._opened = open_recut(self._place.trust_root, envelope, ladder.manifest, ladder.manifest_sha256)
                if self._opened.rung.recipe != ref.recipe.sha256:
                    raise BundleError(f"re-cut rung {self._opened.rung.id}: the shadow names another recipe")
                if self._opened.rung.id in ladder.entries:
                    raise BundleError(f"re-cut rung {self._opened.rung.id}: another re-cut rung has this id already")
                self._phase = "fetch"
                self._place.downloads.begin(OWNER, [ref.recipe])
            except (binascii.Error, BundleError, TrustError) as error:
                self._fail(str(error), passing=False)
                continue
            except (StoreError, ValueError) as error:
                self._fail(str(error), passing=True)
                continue
            return

    def _materialise(self) -> None:
        if self._ladder is None or self._opened is None:
            return
        self._place.downloads.end(OWNER)
        self._phase = "materialise"
        ladder, rung = self._ladder, self._opened.rung.id
        self._job = materialise_job(
            OWNER,
            self._place.store.root,
            ladder.manifest_sha256,
            self._place.trust_root_path,
            ladder.folder,
            (self._wanted[self._current],),
            [rung],
        )
        self._place.helpers.submit(self._job)

    def _try(self) -> None:
        if self._ladder is None or self._opened is None:
            return
        self._phase = "try"
        self._trial = Trial(OWNER, self._ladder, [self._opened.rung], self._place.profile)
        self._place.helpers.submit(self._trial.next_job())

    def _tried(self, trial: Trial) -> None:
        if self._opened is None or self._ladder is None:
            return
        if trial.failure:
            self._fail(trial.failure, passing=False)
            return
        manifest, rung = self._ladder.manifest_sha256, self._opened.rung
        ready = Ready(manifest_sha256=manifest, rung=rung, ref=self._wanted[self._current])
        try:
            self._place.measurements.put(manifest, trial.measurements)
        except StoreError as error:
            self._fail(str(error), passing=True)
            return
        self._save(msgspec.structs.replace(self._kept, ready={**self._kept.ready, self._current: ready}))
        self._end()
        self._place.announce("install", f"re-cut rung {rung.id} is part of the ladder", {"rung": rung.id})
        self._place.changed()

    def _fail(self, reason: str, passing: bool) -> None:
        if not self._current:
            return
        failure = Failure(manifest_sha256=self._current, reason=reason[:1000], passing=passing)
        self._save(msgspec.structs.replace(self._kept, failures={**self._kept.failures, self._current: failure}))
        rung = self._opened.rung.id if self._opened else "re-cut rung"
        self._end()
        self._place.announce("fault", f"{rung} is not used: {reason}")

    def _stop(self) -> None:
        if self._current:
            self._place.helpers.cancel(OWNER)
            self._end()

    def _end(self) -> None:
        self._current, self._phase = "", ""
        self._opened = self._ladder = self._trial = None
        self._place.downloads.end(OWNER)

    def _save(self, kept: Kept) -> None:
        if kept == self._kept:
            return
        self._kept = kept
        try:
            write_atomic(self._path, msgspec.json.encode(kept))
        except StoreError as error:  # it is done again after a restart
            self._place.announce("fault", f"the list of re-cut rungs is not saved: {error}")


def _digest(ref: RecutRef) -> str:
    return hashlib.sha256(ref.envelope.encode()).hexdigest()
