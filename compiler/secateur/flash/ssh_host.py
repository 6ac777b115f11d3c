"""A board that is reached over SSH: the connection, and what it answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import asyncssh

from secateur.flash.errors import FlashError
from secateur.flash.payload import BOARD_PYTHON
from secateur.flash.ssh_address import Address, Login
from secateur.flash.target import PROBE

_CONNECT_LIMIT_S = 20.0
_COMMAND_LIMIT_S = 60.0
_PIECE = 256 << 10


class BoardConnection:
    """An open connection. Use it with ``async with``."""

    def __init__(self, address: Address, login: Login) -> None:
        self.address, self._login = address, login
        self._connection: asyncssh.SSHClientConnection | None = None
        self.host_key = ""
        self._sudo: list[str] | None = None

    async def __aenter__(self) -> BoardConnection:
        """Connect.

        Raises:
            FlashError: if it cannot be reached, its key is not the one that is known, or it does not let us in.
        """
        options: dict[str, Any] = {"connect_timeout": _CONNECT_LIMIT_S, "login_timeout": _CONNECT_LIMIT_S}
        login = self._login
        if self.address.user:
            options["username"] = self.address.user
        if login.key_file is not None:
            options["client_keys"] = [str(login.key_file)]
        if login.password:
            options["password"] = login.password
        known = login.known_hosts or Path.home() / ".ssh" / "known_hosts"
        if login.known_hosts is not None and not known.is_file() and not login.accept_new:
            raise FlashError(f"--known-hosts {known}: no such file; --accept-new-host-keys makes it")
        # Empty ones, not none: that would mean the user's own file.
        options["known_hosts"] = str(known) if known.is_file() else asyncssh.import_known_hosts("")
        if login.accept_new:
            options["client_factory"] = lambda: _NewHosts(known)
        port: Any = {"port": self.address.port} if self.address.port else {}
        try:
            self._connection = await asyncssh.connect(self.address.host, **port, **options)
        except (OSError, asyncssh.Error, asyncio.TimeoutError, ValueError) as error:
            raise FlashError(f"{self.address}: {_explain(error)}") from None
        key = self._connection.get_server_host_key()
        self.host_key = key.get_fingerprint() if key is not None else ""
        self._connection.set_keepalive(15, 4)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            await self._connection.wait_closed()

    async def probe(self) -> dict[str, Any]:
        """Return what its own Python says of it (`secateur.flash.target.PROBE`).

        Raises:
            FlashError: if it has no Python 3, or answers with something else.
        """
        code, out, complaint = await self.run(f"{BOARD_PYTHON} -I -c {shlex.quote(PROBE)}")
        if code:
            # python3-minimal has a Python without most of its library.
            missing = "not found" in complaint or "No module named" in complaint or code == 127
            raise FlashError(
                f"{self.address}: "
                + (
                    f"no complete {BOARD_PYTHON} there; install the package python3"
                    if missing
                    else f"python3 failed: {_last(complaint)}"
                )
            )
        try:
            found = json.loads(out)
            if not isinstance(found, dict):
                raise ValueError
        except (ValueError, RecursionError):
            raise FlashError(
                f"{self.address}: its login prints something of its own; make it silent: {out[:80]!r}"
            ) from None
        return found

    async def become_root(self, uid: int) -> None:
        """Find out how to run commands as root.

        Raises:
            FlashError: if that is not possible.
        """
        if uid == 0:
            self._sudo = []
            return
        code, _, _ = await self.run("sudo -n true")
        if code == 0:
            self._sudo = ["sudo", "-n"]
            return
        if code == 127:
            raise FlashError(f"{self.address}: no sudo there; log in as root, or install the package sudo")
        if self._sudo_password:
            code, _, complaint = await self.run("sudo -k -S -p '' true", f"{self._sudo_password}\n".encode())
            if code == 0:
                self._sudo = ["sudo", "-S", "-p", ""]
                return
            raise FlashError(f"{self.address}: sudo did not accept the password: {_last(complaint)}")
        raise FlashError(f"{self.address}: sudo asks for a password there; give it with --ask-sudo-password")

    @property
    def _sudo_password(self) -> str:
        return self._login.sudo_password or self._login.password

    async def run(self, command: str, given: bytes = b"", limit_s: float = _COMMAND_LIMIT_S) -> tuple[int, str, str]:
        """Run a shell command; return its exit status, standard output and standard error."""
        assert self._connection is not None
        try:
            done = await self._connection.run(command, input=given, encoding=None, timeout=limit_s, check=False)
        except (OSError, asyncssh.Error, asyncio.TimeoutError) as error:
            raise FlashError(f"{self.address}: {_explain(error)}") from None
        code = done.exit_status if done.exit_status is not None else 255
        return code, _text(done.stdout), _text(done.stderr)

    async def run_as_root(self, command: Sequence[str], say: Callable[[str], None], limit_s: float) -> tuple[int, str, str]:
        """Run a command as root and tell each line that it prints; return exit status, output and the last complaint."""
        assert self._connection is not None
        assert self._sudo is not None, "become_root comes first"
        line = shlex.join([*self._sudo, *command])
        lines: list[str] = []
        try:
            async with self._connection.create_process(line, encoding="utf-8", errors="replace") as process:
                if "-S" in self._sudo:
                    process.stdin.write(f"{self._sudo_password}\n")
                process.stdin.write_eof()

                async def follow() -> None:
                    async for text in process.stdout:
                        lines.append(str(text).rstrip())
                        if lines[-1]:
                            say(lines[-1])

                _, complaint = await asyncio.wait_for(asyncio.gather(follow(), process.stderr.read()), limit_s)
                done = await process.wait(check=False)
        except (OSError, asyncssh.Error, asyncio.TimeoutError) as error:
            raise FlashError(f"{self.address}: {_explain(error)}") from None
        return done.exit_status if done.exit_status is not None else 255, "\n".join(lines), _last(str(complaint))

    async def upload(self, path: str, content: Path | bytes, progress: Callable[[int], None]) -> None:
        """Write a file there, readable by the login alone.

        Raises:
            FlashError: if the connection breaks or the disk is full.
        """
        assert self._connection is not None
        try:
            async with self._connection.create_process(f"umask 077; cat > {shlex.quote(path)}", encoding=None) as process:
                # Where it cannot be written, the other side ends before it has all; it says why.
                with contextlib.suppress(BrokenPipeError):
                    await _send(process.stdin, content, progress)
                done = await process.wait(check=False)
        except (OSError, asyncssh.Error) as error:
            raise FlashError(f"{self.address}: {path} could not be sent: {_explain(error)}") from None
        if done.exit_status is None:
            raise FlashError(f"{self.address}: {path} could not be sent: {_explain(asyncssh.ConnectionLost(''))}")
        if done.exit_status:
            raise FlashError(f"{self.address}: {path} could not be written: {_last(_text(done.stderr))}")


async def _send(to: asyncssh.SSHWriter[bytes], content: Path | bytes, progress: Callable[[int], None]) -> None:
    if isinstance(content, bytes):
        to.write(content)
        progress(len(content))
    else:
        with content.open("rb") as file:
            while piece := file.read(_PIECE):
                to.write(piece)
                await to.drain()
                progress(len(piece))
    to.write_eof()


class _NewHosts(asyncssh.SSHClient):
    """Takes the key of a host that no key is known of, and keeps it; one whose key has changed is refused as ever."""

    def __init__(self, known: Path) -> None:
        self._known = known

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Called for a key that is not among the known ones."""
        if self._known.is_file() and any(asyncssh.match_known_hosts(str(self._known), host, addr, port)[:2]):
            return False
        name = host if port == 22 else f"[{host}]:{port}"
        self._known.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = self._known.read_text(encoding="utf-8", errors="replace") if self._known.is_file() else ""
        with self._known.open("a", encoding="utf-8") as file:
            file.write("\n" if text and not text.endswith("\n") else "")
            file.write(f"{name} {key.export_public_key('openssh').decode().strip()}\n")
        return True


def _text(output: object) -> str:
    return output.decode("utf-8", "replace") if isinstance(output, bytes) else str(output or "")


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason given"


def _explain(error: BaseException) -> str:
    """Say what went wrong with a connection, and how to mend it."""
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return (
            "its host key is not known, or not the one that is; log in once with ssh and check it, "
            "or take the key of a new board with --accept-new-host-keys"
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return "it does not let us in; give --user, --identity or --ask-password"
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        return "no answer in time; is it switched on and in this network?"
    if isinstance(error, asyncssh.ConnectionLost):
        return "the connection was lost; run the command again, it goes on"
    if isinstance(error, OSError):
        return f"{error.strerror or error}; is it switched on, and does SSH run there?"
    return " ".join(str(error).split())[:300] or type(error).__name__
