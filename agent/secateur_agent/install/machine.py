"""The install state machine: pure, one table; what it knows is kept in one file.

    idle → fetching → verifying → staged → trial → committed, else rolled-back

Every state has exactly one action, and every action may be done again from its beginning. So whoever finds a state on
disk, after whatever end of the process before, does the action of that state and arrives where the other would have.
The last committed model stays in the state, and is served, until another is committed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from secateur_agent.protocol.messages import Count, ModelRef
from secateur_agent.store import write_atomic

Step = Literal["idle", "fetching", "verifying", "staged", "trial", "committed", "rolled-back"]
Action = Literal["serve", "fetch", "verify", "materialise", "try"]

ACTIONS: dict[Step, Action] = {
    "idle": "serve",
    "fetching": "fetch",
    "verifying": "verify",
    "staged": "materialise",
    "trial": "try",
    "committed": "serve",
    "rolled-back": "serve",
}
NEXT: dict[Step, Step] = {"fetching": "verifying", "verifying": "staged", "staged": "trial", "trial": "committed"}
_REMEMBERED_FAILURES = 32


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """A model that passed its trial here. ``set_aside``: rungs that this device cannot carry, and why."""

    model: ModelRef
    set_aside: dict[str, str] = {}

    @property
    def manifest_sha256(self) -> str:
        """The digest of its manifest, which identifies it."""
        return self.model.manifest.sha256


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that failed here. ``passing``: for a reason that may pass (a full disk), not for what it is."""

    manifest_sha256: str
    reason: str
    passing: bool = False


class InstallState(msgspec.Struct, frozen=True, kw_only=True):
    """All that the machine knows.

    ``version`` is that of the desired shadow whose model was taken up last. ``target`` is being installed, ``committed``
    is what runs, ``previous`` is kept for a rollback.
    """

    step: Step = "idle"
    version: Count = 0
    target: ModelRef | None = None
    committed: Installed | None = None
    previous: Installed | None = None
    failures: tuple[Failure, ...] = ()
    fault: str = ""

    @property
    def busy(self) -> bool:
        """Whether an installation is under way."""
        return self.step in NEXT

    def failure(self, manifest_sha256: str) -> Failure | None:
        """Return how this bundle failed here, if it did."""
        return next((f for f in self.failures if f.manifest_sha256 == manifest_sha256), None)


class Wanted(msgspec.Struct, frozen=True):
    """Desired shadow ``version`` names this model. ``by_hand``: a person at the device insists."""

    model: ModelRef
    version: int
    by_hand: bool = False


class StepDone(msgspec.Struct, frozen=True):
    """The action of the present step succeeded. ``set_aside`` is the outcome of a trial."""

    set_aside: dict[str, str] = {}


class StepFailed(msgspec.Struct, frozen=True):
    """The action of the present step failed."""

    reason: str
    passing: bool = False


class RollBack(msgspec.Struct, frozen=True):
    """Go back to the model before, and do not come to this one again by yourself."""

    reason: str


InstallEvent = Wanted | StepDone | StepFailed | RollBack


def advance(state: InstallState, event: InstallEvent) -> InstallState:
    """Return the state after an event; an event that does not apply changes nothing.

    Args:
        state: what is known.
        event: what happened.

    Returns:
        The new state. Save it before doing its action (`ACTIONS`).
    """
    if isinstance(event, Wanted):
        return _wanted(state, event)
    if isinstance(event, RollBack):
        return _roll_back(state, event)
    if not state.busy or state.target is None:
        return state
    if isinstance(event, StepFailed):
        return _failed(state, state.target, event.reason, event.passing)
    if state.step != "trial":
        return msgspec.structs.replace(state, step=NEXT[state.step])
    return msgspec.structs.replace(
        state,
        step="committed",
        target=None,
        committed=Installed(model=state.target, set_aside=event.set_aside),
        previous=_unless(state.committed, state.target) or state.previous,
        fault="",
    )


def _unless(installed: Installed | None, model: ModelRef) -> Installed | None:
    same = installed is not None and installed.manifest_sha256 == model.manifest.sha256
    return None if same else installed


def _wanted(state: InstallState, event: Wanted) -> InstallState:
    digest = event.model.manifest.sha256
    if state.busy and state.target is not None and state.target.manifest.sha256 == digest:
        return msgspec.structs.replace(state, version=event.version)
    if state.committed is not None and state.committed.manifest_sha256 == digest:
        return msgspec.structs.replace(state, step="committed", version=event.version, target=None, fault="")
    failure = state.failure(digest)
    if failure is not None and not failure.passing and not event.by_hand:
        # A broken update that is wanted again is not installed again (mender PR#1581): its digest says it is the same.
        fault = f"{event.model.name} {digest[:12]} failed here before and is not tried again: {failure.reason}"
        return msgspec.structs.replace(state, step="rolled-back", version=event.version, target=None, fault=fault[:2000])
    return msgspec.structs.replace(
        state,
        step="fetching",
        version=event.version,
        target=event.model,
        failures=tuple(f for f in state.failures if f.manifest_sha256 != digest),
        fault="",
    )


def _failed(state: InstallState, model: ModelRef, reason: str, passing: bool) -> InstallState:
    failure = Failure(manifest_sha256=model.manifest.sha256, reason=reason[:1000], passing=passing)
    return msgspec.structs.replace(
        state,
        step="rolled-back",
        target=None,
        failures=(*(f for f in state.failures if f.manifest_sha256 != failure.manifest_sha256), failure)[
            -_REMEMBERED_FAILURES:
        ],
        fault=f"{model.name} {failure.manifest_sha256[:12]}: {failure.reason}",
    )


def _roll_back(state: InstallState, event: RollBack) -> InstallState:
    if state.busy and state.target is not None:
        return _failed(state, state.target, event.reason, passing=False)
    if state.committed is None or state.previous is None:
        return state
    gone = _failed(state, state.committed.model, event.reason, passing=False)
    return msgspec.structs.replace(gone, committed=state.previous, previous=None)


def save_state(path: Path, state: InstallState) -> None:
    """Keep the state.

    Raises:
        secateur_agent.store.files.StoreError: if it cannot be written; the state before is still there.
    """
    write_atomic(path, msgspec.json.encode(state))


def load_state(path: Path) -> tuple[InstallState, str]:
    """Return what was kept, and a line about what is wrong with it ('' if nothing is).

    A file that cannot be read starts the machine anew: the desired shadow brings the model back.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=InstallState), ""
    except FileNotFoundError:
        return InstallState(), ""
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        return InstallState(), f"install state {path}: {error}; starting without it"
