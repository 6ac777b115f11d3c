"""Signed commands: each is carried out at most once, and each comes to an end that the host hears of."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from secateur_agent.protocol.messages import BlobRef, Command, CommandStatus, Count, MessageError, Text
from secateur_agent.store import write_atomic
from secateur_agent.trust import TrustError, TrustRoot, open_signed

WINDOW = 64
_MAX_KEPT_RESULT_BYTES = 16_384


class CommandError(ValueError):
    """A command is refused."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was taken up, and how it stands."""

    seq: Count
    id: str
    body: str
    status: Literal["executing", "done", "failed"] = "executing"
    text: Text = ""
    result: dict[str, Any] = {}
    pack: BlobRef | None = None

    @property
    def message(self) -> CommandStatus:
        """The status to publish."""
        return CommandStatus(status=self.status, text=self.text, result=self.result)


class CommandLog:
    """The commands seen last, kept on disk so that none runs twice, whatever happens in between.

    Args:
        path: the file.
        device: the id of this device.
        root: who may sign.

    Attributes:
        problem: why the kept log could not be used at start, '' if it could.
    """

    def __init__(self, path: Path, device: str, root: TrustRoot) -> None:
        self._path = path
        self._device = device
        self._root = root
        self._seen: list[Seen] = []
        self.problem = ""
        try:
            self._seen = msgspec.json.decode(path.read_bytes(), type=list[Seen])
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self.problem = f"commands {path}: {error}; starting without the log"

    def take(self, command_id: str, payload: bytes, now_s: float) -> tuple[Seen, bool]:
        """Verify a command and write down that it is taken up.

        Args:
            command_id: the id in its topic.
            payload: the envelope as received.
            now_s: wall time, for its expiry.

        Returns:
            The entry, and whether it is new. An entry that is not new is only to be reported again: commands are
            retained messages and come again at each reconnect.

        Raises:
            CommandError: if it is malformed, not signed for this device and topic, expired, or its number was used.
            secateur_agent.store.files.StoreError: if it cannot be written down; then it must not run.
        """
        try:
            command = open_signed(self._root, "command", payload, Command, "command")
        except (TrustError, MessageError) as error:
            raise CommandError(str(error)) from None
        if command.device != self._device or command.id != command_id:
            raise CommandError(f"command: signed for {command.device}/{command.id}, not for this device and topic")
        for each in self._seen:
            if each.seq == command.seq and each.id == command.id:
                return each, False
            if each.seq == command.seq:
                raise CommandError(f"command: its number {command.seq} was used before, by {each.id}")
        if len(self._seen) >= WINDOW and command.seq < self._seen[0].seq:
            raise CommandError(f"command: its number {command.seq} is older than the last {WINDOW} commands")
        if command.expires_s < now_s:
            raise CommandError(f"command: expired {now_s - command.expires_s:.0f} s ago by this device's clock")
        pack = command.pack if command.body == "measure" else None
        entry = Seen(seq=command.seq, id=command.id, body=command.body, pack=pack)
        # Retained commands may arrive in any order; those that are forgotten first have the lowest numbers.
        self._save(sorted([*self._seen, entry], key=lambda each: each.seq)[-WINDOW:])
        return entry, True

    def finish(
        self, entry: Seen, status: Literal["done", "failed"], text: str, result: dict[str, Any] | None = None
    ) -> Seen:
        """Write down how a command ended.

        Returns:
            The entry with its terminal status.

        Raises:
            secateur_agent.store.files.StoreError: if it cannot be written down.
        """
        ended = msgspec.structs.replace(entry, status=status, text=text[:2000], result=result or {}, pack=None)
        small = len(msgspec.json.encode(ended.result)) <= _MAX_KEPT_RESULT_BYTES
        kept = ended if small else msgspec.structs.replace(ended, result={})
        self._save([kept if each.seq == entry.seq else each for each in self._seen])
        return ended

    def settle(self) -> list[Seen]:
        """End the commands that the end of the process before interrupted.

        Returns:
            Their entries: a restart is done by that very end, anything else has failed. None stays ``executing``
            (thin-edge.io#1135) but what `resumable` returns.
        """
        ended = []
        resumable = self.resumable()
        for entry in [each for each in self._seen if each.status == "executing" and each is not resumable]:
            if entry.body == "restart":
                ended.append(self.finish(entry, "done", "the agent has started again"))
            else:
                ended.append(self.finish(entry, "failed", "the agent ended while this command ran; send it again"))
        return ended

    def resumable(self) -> Seen | None:
        """Return the newest command with a pack that has not ended: what it found is on disk, so it can go on."""
        return next((each for each in self._seen[::-1] if each.status == "executing" and each.pack is not None), None)

    def _save(self, seen: list[Seen]) -> None:
        write_atomic(self._path, msgspec.json.encode(seen))
        self._seen = seen
