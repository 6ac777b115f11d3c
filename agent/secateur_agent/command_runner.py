"""Carries out commands: measure, restart, diagnose, rollback. A closed set; no shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

from secateur_agent.commands import CommandError, CommandLog, Seen
from secateur_agent.helper_processes import HelperEnded
from secateur_agent.install.installer import Installer
from secateur_agent.install.trial import Trial
from secateur_agent.install.workplace import Workplace
from secateur_agent.installed_ladder import InstalledLadder
from secateur_agent.kept_timings import KeptTimings
from secateur_agent.pack_timing import PackTiming
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import BlobRef, CommandStatus, encode
from secateur_agent.protocol.timings import PackTimings
from secateur_agent.store import StoreError

OWNER = "measure"
STATUS_EXPIRY_S = 7 * 86_400


class Publish(Protocol):
    """Publishes a message of the link."""

    def __call__(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> bool: ...


class CommandRunner:
    """Runs commands and publishes how they go.

    Args:
        device: the id of this device.
        log: what was seen before.
        place: helpers and measurements.
        installer: for a rollback.
        publish: the link's.
        ladder: returns the ladder that is served now.
        diagnosis: returns the answer to ``diagnose``.
        restart: asks the loop to end and begin again.
    """

    def __init__(
        self,
        device: str,
        log: CommandLog,
        place: Workplace,
        installer: Installer,
        publish: Publish,
        ladder: Callable[[], InstalledLadder | None],
        diagnosis: Callable[[], dict[str, Any]],
        restart: Callable[[], object],
    ) -> None:
        self._device = device
        self._log = log
        self._place = place
        self._installer = installer
        self._publish = publish
        self._ladder = ladder
        self._diagnosis = diagnosis
        self._restart = restart
        self._measuring: tuple[Seen, Trial, str] | None = None
        self._kept = KeptTimings(place.state_path / "timings.json")
        self._timing: tuple[Seen, PackTiming] | None = None

    def settle(self) -> None:
        """Tell how the commands ended that the process before had begun; go on with timing a pack."""
        resumable = self._log.resumable()
        try:
            ended = self._log.settle()
        except StoreError as error:
            self._place.announce("fault", f"commands: {error}")
            return
        for entry in ended:
            self._tell(entry.id, entry.message)
        if resumable is not None and resumable.pack is not None:
            self._place.announce("command", f"{resumable.body} ({resumable.id}) goes on")
            self._time(resumable, resumable.pack)

    def poll(self) -> None:
        """Go on with what waits for a download."""
        if self._timing is not None:
            self._timing[1].poll()

    def fail_pack(self, reason: str) -> None:
        """Give up timing a pack."""
        if self._timing is not None:
            self._timing[1].fail(reason)

    def kept_blobs(self) -> set[str]:
        """Return the digests of the blobs that are in use."""
        return {self._timing[1].ref.sha256} if self._timing is not None else set()

    def take(self, command_id: str, payload: bytes, now_s: float) -> None:
        """Verify a command and begin it.

        Raises:
            StoreError: if it cannot be written down; it does not run then.
        """
        try:
            entry, new = self._log.take(command_id, payload, now_s)
        except CommandError as error:
            self._place.announce("fault", str(error))
            self._tell(command_id, CommandStatus(status="refused", text=str(error)[:2000]))
            return
        if not new and self._timing is not None and self._timing[0].id == entry.id:
            self._tell_known(entry.id, self._timing[1].known())
            return
        self._tell(entry.id, entry.message)
        if not new:
            return
        self._place.announce("command", f"{entry.body} ({entry.id})")
        if entry.body == "measure" and entry.pack is not None:
            self._time(entry, entry.pack)
        elif entry.body == "measure":
            self._measure(entry)
        elif entry.body == "restart":
            self._restart()
        elif entry.body == "diagnose":
            self._finish(entry, "done", "", self._diagnosis())
        elif self._installer.roll_back("rolled back by command"):
            self._finish(entry, "done", "the model before serves again")
        else:
            self._finish(entry, "failed", "there is no model to go back to")

    def on_helper(self, ended: HelperEnded) -> None:
        """Take the result of a measurement."""
        if self._timing is not None and self._timing[1].take(ended):
            return
        if self._measuring is None or not self._measuring[1].take(ended):
            return
        entry, trial, manifest = self._measuring
        if not trial.done:
            self._place.helpers.submit(trial.next_job())
            return
        self._measuring = None
        try:
            self._place.measurements.put(manifest, trial.measurements)
        except StoreError as error:
            self._finish(entry, "failed", str(error))
            return
        self._place.changed()
        result = {
            "measurements": [msgspec.to_builtins(each) for each in trial.measurements],
            "set_aside": trial.set_aside,
            "how": {rung: msgspec.to_builtins(how) for rung, how in trial.how.items()},
        }
        if trial.failure:
            self._finish(entry, "failed", trial.failure, result)
        else:
            self._finish(entry, "done", f"{len(trial.measurements)} rungs measured", result)

    def _measure(self, entry: Seen) -> None:
        ladder = self._ladder()
        if ladder is None or not ladder.entries:
            self._finish(entry, "failed", "there is no model to measure")
        elif self._measuring is not None:
            self._finish(entry, "failed", f"another measurement is running ({self._measuring[0].id})")
        else:
            rungs = list(ladder.entries.values())
            trial = Trial(OWNER, ladder, rungs, self._place.profile, self._place.sysfs_root)
            self._measuring = (entry, trial, ladder.manifest_sha256)
            self._place.helpers.submit(trial.next_job())

    def _time(self, entry: Seen, ref: BlobRef) -> None:
        """Time a pack. One at a time: whoever sends another has given up the one before, whose times are kept."""
        self.fail_pack(f"{entry.id} takes its place")

        def end(status: Literal["done", "failed"], text: str, known: PackTimings | None) -> None:
            self._timing = None
            self._finish(entry, status, text, msgspec.to_builtins(known) if known is not None else None)

        def progress(known: PackTimings) -> None:
            self._tell_known(entry.id, known)

        self._timing = (entry, PackTiming(self._place, self._kept, ref, progress, end))
        self.poll()

    def _tell_known(self, command_id: str, known: PackTimings) -> None:
        text = f"{len(known.timings)} of {known.total} files timed" if known.total else "fetching the pack"
        self._tell(command_id, CommandStatus(status="executing", text=text, result=msgspec.to_builtins(known)))

    def _finish(
        self, entry: Seen, status: Literal["done", "failed"], text: str, result: dict[str, Any] | None = None
    ) -> None:
        try:
            ended = self._log.finish(entry, status, text, result)
        except StoreError as error:
            self._place.announce("fault", f"command {entry.id}: its end cannot be kept: {error}")
            ended = msgspec.structs.replace(entry, status=status, text=text[:2000], result=result or {})
        self._tell(entry.id, ended.message)

    def _tell(self, command_id: str, status: CommandStatus) -> None:
        topic = topics.command_status(self._device, command_id)
        self._publish(topic, encode(status), retain=True, expiry_s=STATUS_EXPIRY_S)
