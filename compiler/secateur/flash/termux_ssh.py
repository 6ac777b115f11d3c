"""Into Termux by its own SSH server (``pkg install openssh``; ``sshd`` listens on port 8022)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from secateur.flash.errors import FlashError
from secateur.flash.phone import COMMAND_LIMIT_S, Answer, Say, last_line
from secateur.flash.ssh_address import Address, Login
from secateur.flash.ssh_host import BoardConnection

PORT = 8022
"""Where Termux's sshd listens; an app may not use ports below 1024."""
_START = "in Termux on the phone: 'pkg install openssh', 'passwd', 'sshd'"


class TermuxSsh:
    """An open connection. Use it with ``async with``."""

    in_app = True

    def __init__(self, address: Address, login: Login) -> None:
        address = address if address.port else replace(address, port=PORT)
        self.where, self._board = str(address), BoardConnection(address, login)

    @property
    def host_key(self) -> str:
        """Fingerprint of the key that the phone has shown."""
        return self._board.host_key

    async def __aenter__(self) -> TermuxSsh:
        """Connect.

        Raises:
            FlashError: if no SSH server answers there, or it does not let us in.
        """
        try:
            await self._board.__aenter__()
            await self._board.become_root(0)  # an app is one user: there is no sudo to go through
        except FlashError as error:
            if isinstance(error.__context__, OSError):
                raise FlashError(f"{self.where}: no SSH server answers there; {_START}") from None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self._board.__aexit__(kind, error, trace)

    async def run(
        self, command: str, given: bytes = b"", limit_s: float = COMMAND_LIMIT_S, say: Say | None = None
    ) -> Answer:
        """Run a shell command; see `secateur.flash.phone.Phone`."""
        if say is None:
            code, out, complaint = await self._board.run(command, given, limit_s)
        else:
            code, out, complaint = await self._board.run_as_root(["sh", "-c", command], say, limit_s)
        return Answer(code, out, last_line(complaint))

    async def upload(self, path: str, content: Path | bytes, progress: Callable[[int], None]) -> None:
        """Write a file; see `secateur.flash.phone.Phone`."""
        await self._board.upload(path, content, progress)
