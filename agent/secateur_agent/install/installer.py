"""Carries out the install machine: the action of each state, one after the other."""

from __future__ import annotations

import msgspec

from secateur_agent.bundle.manifest import BundleError, Manifest
from secateur_agent.helper_processes import HelperEnded, Job
from secateur_agent.install.acceptance import accept_manifest, missing_bytes, space_problem
from secateur_agent.install.machine import (
    ACTIONS,
    InstallEvent,
    RollBack,
    StepDone,
    StepFailed,
    Wanted,
    advance,
    load_state,
    save_state,
)
from secateur_agent.install.materialising import materialise_error, materialise_job
from secateur_agent.install.trial import Trial
from secateur_agent.install.verify_files import VerifyRequest, VerifyResult
from secateur_agent.install.workplace import Workplace
from secateur_agent.installed_ladder import InstalledLadder, models_folder
from secateur_agent.protocol.messages import ModelRef
from secateur_agent.store import StoreError
from secateur_agent.trust import TrustError

OWNER = "install"
_VERIFY_LIMIT_S = 600.0


class Installer:
    """The model of the desired shadow, brought onto the device.

    Args:
        place: store, downloads, helpers and limits.

    Attributes:
        state: where the machine is.
        problem: what was wrong with the kept state, '' if nothing.
    """

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._path = place.state_path / "install.json"
        self.state, self.problem = load_state(self._path)
        self._job: Job | None = None
        self._trial: Trial | None = None
        self._accepted: Manifest | None = None

    def resume(self) -> None:
        """Do the action of the state that was found on disk."""
        self._act()

    def want(self, model: ModelRef, version: int, by_hand: bool = False) -> None:
        """Take up the model of desired shadow ``version``."""
        self._apply(Wanted(model, version, by_hand))

    def roll_back(self, reason: str) -> bool:
        """Go back to the model before; return whether there was anything to go back from."""
        before = self.state
        self._apply(RollBack(reason))
        return self.state != before

    def poll(self) -> None:
        """Look whether the download has what the next step needs."""
        target = self.state.target
        if self.state.step != "fetching" or target is None or self._place.downloads.owner != OWNER:
            return
        if self._accepted is None and self._place.store.has(target.manifest.sha256):
            try:
                self._accepted = self._accept(target)
            except (BundleError, TrustError) as error:
                self._apply(StepFailed(str(error)))
                return
            except StoreError as error:
                self._apply(StepFailed(str(error), passing=True))
                return
        if self._place.downloads.done:
            self._apply(StepDone())

    def on_helper(self, ended: HelperEnded) -> None:
        """Take the result of a helper of this owner; one that belongs to an abandoned step is ignored."""
        target = self.state.target
        if target is None:
            return
        if self.state.step == "trial" and self._trial is not None:
            if self._trial.take(ended):
                self._next_trial(self._trial)
        elif ended.job is not self._job:
            return
        elif self.state.step == "verifying":
            self._verified(ended)
        elif self.state.step == "staged":
            error = materialise_error(ended)
            self._apply(StepFailed(error, passing=ended.killed) if error else StepDone())

    def fail(self, reason: str) -> None:
        """Give up the present step for something that may pass (a full disk); nothing that serves is touched."""
        self._apply(StepFailed(reason, passing=True))

    def models(self) -> list[ModelRef]:
        """Return every model that is installed, kept for a rollback, or on its way."""
        state = self.state
        installed = [each.model for each in (state.committed, state.previous) if each is not None]
        return installed + ([state.target] if state.target is not None else [])

    def _apply(self, event: InstallEvent) -> None:
        state = advance(self.state, event)
        if state == self.state:
            return
        try:
            save_state(self._path, state)
        except StoreError as error:
            self._place.announce("fault", f"install state is not saved, the step is not taken: {error}")
            return
        before, self.state = self.state, state
        if before.step != state.step or before.fault != state.fault:
            name = state.target or (state.committed.model if state.committed else None) or before.target
            text = f"{before.step} → {state.step}" + (f": {state.fault}" if state.fault else "")
            digest = name.manifest.sha256 if name else ""
            self._place.announce("install", text, {"model": name.name if name else "", "manifest_sha256": digest})
        if before.step != state.step or before.target != state.target:
            self._act()
        # Only now: the host broadcasts as soon as it hears of the download, so this device must be listening already.
        self._place.changed()

    def _act(self) -> None:
        self._trial = None
        action, target = ACTIONS[self.state.step], self.state.target
        self._place.helpers.cancel(OWNER)
        if action != "fetch":
            self._place.downloads.end(OWNER)
        if action == "serve" or target is None:
            return
        if action == "fetch":
            self._fetch(target)
        elif action == "verify":
            self._submit(self._verify_job(target))
        elif action == "materialise":
            self._materialise(target)
        else:
            self._try(target)

    def _fetch(self, target: ModelRef) -> None:
        self._accepted = None
        refs = (target.manifest, *target.files)
        here = [ref for ref in refs if self._place.store.has(ref.sha256)]
        if problem := space_problem(self._place.store.root, missing_bytes(target, here), target.name):
            self._apply(StepFailed(problem, passing=True))
            return
        try:
            self._place.downloads.begin(OWNER, refs)
        except (StoreError, ValueError) as error:
            self._apply(StepFailed(str(error), passing=isinstance(error, StoreError)))
            return
        self.poll()

    def _verify_job(self, target: ModelRef) -> Job:
        request = VerifyRequest(
            store=str(self._place.store.root),
            trust_root=str(self._place.trust_root_path),
            model=target,
            profile=self._place.profile.name,
        )
        key = f"{target.manifest.sha256}:verify"
        return Job(
            owner=OWNER,
            key=key,
            module="secateur_agent.install.verify_files",
            request=msgspec.json.encode(request),
            time_limit_s=_VERIFY_LIMIT_S,
        )

    def _submit(self, job: Job) -> None:
        self._job = job
        self._place.helpers.submit(job)

    def _verified(self, ended: HelperEnded) -> None:
        try:
            result = msgspec.json.decode(ended.output, type=VerifyResult)
        except msgspec.MsgspecError:
            self._apply(StepFailed(f"verify: {ended.error or 'its result cannot be read'}", passing=True))
            return
        self._apply(StepDone() if result.ok else StepFailed(result.error, passing=result.damaged))

    def _materialise(self, target: ModelRef) -> None:
        try:
            manifest = self._accept(target)
        except (BundleError, TrustError, StoreError) as error:
            self._apply(StepFailed(str(error)))
            return
        needed = sum(rung.file_bytes for rung in manifest.rungs)
        if problem := space_problem(self._place.store.root, needed, f"the rungs of {target.name}"):
            self._apply(StepFailed(problem, passing=True))
            return
        digest = target.manifest.sha256
        out = models_folder(self._place.store.root, digest)
        self._submit(materialise_job(OWNER, self._place.store.root, digest, self._place.trust_root_path, out))

    def _try(self, target: ModelRef) -> None:
        digest = target.manifest.sha256
        try:
            manifest = self._accept(target)
        except (BundleError, TrustError, StoreError) as error:
            self._apply(StepFailed(str(error)))
            return
        ladder = InstalledLadder(manifest, digest, models_folder(self._place.store.root, digest))
        # From the smallest up: what the device surely can do is measured before what it may not survive.
        self._trial = Trial(OWNER, ladder, manifest.rungs[::-1], self._place.profile)
        self._next_trial(self._trial)

    def _next_trial(self, trial: Trial) -> None:
        target = self.state.target
        if trial.failure:
            self._apply(StepFailed(trial.failure))
        elif not trial.done:
            self._place.helpers.submit(trial.next_job())
        elif target is not None:
            try:
                self._place.measurements.put(target.manifest.sha256, trial.measurements)
            except StoreError as error:
                self._apply(StepFailed(str(error), passing=True))
                return
            for rung, why in trial.set_aside.items():
                self._place.announce("install", f"rung {rung} is set aside: {why}")
            self._apply(StepDone(trial.set_aside))

    def _accept(self, target: ModelRef) -> Manifest:
        data = self._place.store.read(target.manifest.sha256)
        return accept_manifest(self._place.trust_root, data, target, self._place.profile.name)
