"""A board that is reached over SSH: a simulated one, with a real SSH server that answers as a board would."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncssh
import pytest

from secateur.flash.errors import FlashError
from secateur.flash.ssh_address import Address, Login
from secateur.flash.ssh_host import BoardConnection

Use = Callable[[BoardConnection], Awaitable[None]]


async def _serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """A full disk for what is sent, and no program at all."""
    if "/lost" in str(process.command):
        await process.stdin.read(1000)
        process.channel.get_connection().abort()
    elif "cat >" in str(process.command):
        await process.stdin.read(1000)
        process.stderr.write(b"cat: write error: No space left on device\n")
        process.exit(1)
    else:
        process.stderr.write(b"sh: 1: not found\n")
        process.exit(127)


class _LetsAllIn(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return False


def connected(folder: Path, use: Use, known: str | None = None) -> None:
    """Connect to a server whose key is accepted, or already known, and do something there."""

    async def run() -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[key], server_factory=_LetsAllIn, process_factory=_serve, encoding=None
        )
        try:
            if known is not None:
                (folder / "known").write_text(known)
            login = Login(accept_new=True, known_hosts=folder / "known")
            address = Address("127.0.0.1", "pi", server.sockets[0].getsockname()[1])
            for _ in range(2):  # the second time its key is known
                async with BoardConnection(address, login) as board:
                    await use(board)
        finally:
            server.close()

    asyncio.run(asyncio.wait_for(run(), 60))


async def _connecting(_board: BoardConnection) -> None:
    """Connecting is all."""


@pytest.mark.parametrize("size", [2000, 30_000_000])
def test_a_file_that_cannot_be_written_is_told_as_the_board_tells_it(tmp_path: Path, size: int) -> None:
    """Also if the board ends the transfer before all is sent."""
    file = tmp_path / "file"
    file.write_bytes(b"x" * size)

    async def use(board: BoardConnection) -> None:
        with pytest.raises(FlashError, match="could not be written: cat: write error: No space left on device"):
            await board.upload("/there", file, lambda _count: None)

    connected(tmp_path, use)


def test_a_connection_that_breaks_in_a_transfer_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 30_000_000)

    async def use(board: BoardConnection) -> None:
        with pytest.raises(FlashError, match="could not be sent: "):
            await board.upload("/lost", file, lambda _count: None)

    connected(tmp_path, use)


def test_what_is_missing_there_is_named(tmp_path: Path) -> None:
    async def use(board: BoardConnection) -> None:
        with pytest.raises(FlashError, match="no sudo there; log in as root"):
            await board.become_root(1000)
        with pytest.raises(FlashError, match="install the package python3"):
            await board.probe()

    connected(tmp_path, use)


def test_a_new_key_goes_onto_a_line_of_its_own(tmp_path: Path) -> None:
    connected(
        tmp_path, _connecting, known="other ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBwZ5/mDNOfpeKQ0cFnIo7Nmewjwq/i/lsd/sgMiD/x1"
    )
    lines = (tmp_path / "known").read_text().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("[127.0.0.1]:")


def test_a_file_of_known_keys_that_is_not_there_is_not_replaced_by_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(login: Login) -> None:
        async with BoardConnection(Address("127.0.0.1", "pi", 1), login):
            """It does not come to that."""

    with pytest.raises(FlashError, match=r"--known-hosts .*none: no such file; --accept-new-host-keys makes it"):
        asyncio.run(use(Login(known_hosts=tmp_path / "none")))
    # With new keys accepted, the user's own file does not count either: here it names another key for that address.
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/known_hosts").write_text(f"127.0.0.1 {key}")
    monkeypatch.setenv("HOME", str(tmp_path))
    connected(tmp_path, _connecting)
    assert (tmp_path / "known").read_text()


def test_a_key_that_has_changed_is_refused_also_where_new_ones_are_taken(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    with pytest.raises(FlashError, match="not the one that is"):
        connected(tmp_path, _connecting, known=f"127.0.0.1 {key}")
