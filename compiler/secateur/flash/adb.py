"""Into Termux by the Android Debug Bridge: ``adb shell``, and ``run-as`` to be the app's own user.

``run-as`` lets in to apps that are debuggable only. Termux's builds on GitHub are, those of F-Droid and Google Play are not
(https://github.com/termux/termux-app#github, https://github.com/termux/termux-app/issues/4389).
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from secateur.flash.errors import FlashError
from secateur.flash.phone import APP, COMMAND_LIMIT_S, Answer, Say, last_line

_PIECE = 256 << 10
_STALLED_S = 60.0
_END_S = 5.0
_SOURCE = "the build of Termux on GitHub allows it (github.com/termux/termux-app/releases); or go in by SSH, without --adb"
_STATES = {
    "unauthorized": "unlock it and allow this host on its screen",
    "authorizing": "unlock it and allow this host on its screen",
    "offline": "plug it in again, or switch USB debugging off and on",
}


@dataclass(frozen=True)
class Connected:
    """A phone that adb knows of. ``state`` is ``device`` if it can be used."""

    serial: str
    state: str


def parse_devices(text: str) -> list[Connected]:
    """Parse what ``adb devices`` prints: a heading, then a serial number, a tab and a state on each line.

    Source: https://android.googlesource.com/platform/packages/modules/adb/+/refs/heads/main/docs/user/adb.1.md
    """
    found = []
    for line in text.splitlines():
        serial, tab, state = line.partition("\t")
        # The server's own messages begin with a star.
        if tab and serial.strip() and state.strip() and not serial.startswith("*"):
            found.append(Connected(serial.strip(), state.strip()))
    return found


def choose(phones: Sequence[Connected], serial: str) -> Connected:
    """Return the phone that is meant.

    Raises:
        FlashError: if there is none, it is not clear which, or it cannot be used.
    """
    names = ", ".join(each.serial for each in phones)
    if not phones:
        raise FlashError("adb: no phone is connected; plug it in and switch on USB debugging in its developer options")
    if serial:
        wanted = [each for each in phones if each.serial == serial]
        if not wanted:
            raise FlashError(f"adb: {serial[:80]} is not connected; there are: {names}")
    elif len(phones) > 1:
        raise FlashError(f"adb: several phones are connected, say which with --adb SERIAL: {names}")
    else:
        wanted = list(phones)
    if wanted[0].state != "device":
        kind = wanted[0].state.split(" ")[0].strip(";")
        hint = _STATES.get(kind, "see 'adb devices'")
        raise FlashError(f"adb: {wanted[0].serial} cannot be used: {wanted[0].state[:80]}; {hint}")
    return wanted[0]


class AdbPhone:
    """A phone in whose Termux commands can be run."""

    in_app = False

    def __init__(self, serial: str, files: str, program: str = "adb") -> None:
        self.where, self._program = serial, program
        prefix = f"{files}/usr"
        # run-as keeps the shell's own environment; these are what Termux sets for its sessions.
        self._shell = f"run-as {APP} {shlex.quote(f'{prefix}/bin/sh')} -c "
        self._before = (
            f"export PREFIX={shlex.quote(prefix)} HOME={shlex.quote(f'{files}/home')} LANG=C.UTF-8\n"
            'export TMPDIR="$PREFIX/tmp" PATH="$PREFIX/bin:$PATH"\ncd "$HOME" || exit 1\n'
        )

    async def run(
        self, command: str, given: bytes = b"", limit_s: float = COMMAND_LIMIT_S, say: Say | None = None
    ) -> Answer:
        """Run a shell command; see `secateur.flash.phone.Phone`."""
        line = self._shell + shlex.quote(self._before + command)
        return await _adb([self._program, "-s", self.where, "shell", "-T", line], self.where, given, limit_s, say)

    async def upload(self, path: str, content: Path | bytes, progress: Callable[[int], None]) -> None:
        """Write a file; see `secateur.flash.phone.Phone`."""
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        quoted = shlex.quote(path)
        line = self._shell + shlex.quote(f"{self._before}umask 077; cat > {quoted} && wc -c < {quoted}")
        async with _process([self._program, "-s", self.where, "shell", "-T", line], self.where) as process:
            assert process.stdin is not None
            try:
                if isinstance(content, bytes):
                    process.stdin.write(content)
                    progress(size)
                else:
                    with content.open("rb") as file:
                        while piece := file.read(_PIECE):
                            process.stdin.write(piece)
                            await asyncio.wait_for(process.stdin.drain(), _STALLED_S)
                            progress(len(piece))
                out, complaint = await asyncio.wait_for(process.communicate(b""), _STALLED_S)
            except (OSError, TimeoutError, asyncio.TimeoutError) as error:
                raise FlashError(f"{self.where}: {path} could not be sent: {error or 'no answer in time'}") from None
        # An adb before version 7 of Android has no exit status: the size tells.
        if process.returncode or out.strip() != str(size).encode():
            reason = last_line(complaint.decode("utf-8", "replace")) or "the connection was lost; run the command again"
            raise FlashError(f"{self.where}: {path} could not be written: {reason}")


@asynccontextmanager
async def open_phone(serial: str = "", program: str = "adb") -> AsyncIterator[AdbPhone]:
    """Find the phone and Termux on it.

    Args:
        serial: which phone; '' if there is but one.
        program: the adb program.

    Raises:
        FlashError: if there is no adb, no phone, no Termux, or a Termux that does not let adb in.
    """
    listed = await _adb([program, "devices"], "adb", b"", COMMAND_LIMIT_S, None)
    if listed.code:
        raise FlashError(f"adb: {listed.complaint or 'does not list the phones'}")
    phone = choose(parse_devices(listed.out), serial)
    # The folder as run-as sees it is Termux's own, whichever user of the phone it belongs to.
    script = f'd=/data/data/{APP}; test -d "$d/files" || d=$(pwd); test -x "$d/files/usr/bin/sh" && echo "files=$d/files"'
    line = f"run-as {APP} sh -c {shlex.quote(script)}"
    found = await _adb([program, "-s", phone.serial, "shell", "-T", line], phone.serial, b"", COMMAND_LIMIT_S, None)
    files = next((line[6:].strip() for line in found.out.splitlines() if line.startswith("files=/")), "")
    if not files:
        raise FlashError(f"{phone.serial}: {_explain(f'{found.complaint} {last_line(found.out)}')}")
    yield AdbPhone(phone.serial, files, program)


def _explain(text: str) -> str:
    if "not debuggable" in text:
        return f"this build of Termux does not let adb in; {_SOURCE}"
    if "unknown" in text or "not installed" in text:
        return "Termux is not installed; install it from github.com/termux/termux-app/releases and open it once"
    if "run-as" in text and text.strip():
        return f"adb cannot become Termux: {' '.join(text.split())[:200]}; {_SOURCE}"
    return "Termux was never opened on the phone; open it once, so that it unpacks itself"


async def _adb(command: Sequence[str], where: str, given: bytes, limit_s: float, say: Say | None) -> Answer:
    async with _process(command, where) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(given)
        process.stdin.close()
        lines: list[str] = []

        async def follow(stream: asyncio.StreamReader) -> None:
            while line := await stream.readline():
                lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
                if say is not None and lines[-1].strip():
                    say(lines[-1])

        try:
            _, complaint = await asyncio.wait_for(asyncio.gather(follow(process.stdout), process.stderr.read()), limit_s)
            code = await asyncio.wait_for(process.wait(), limit_s)
        except (OSError, TimeoutError, asyncio.TimeoutError):
            raise FlashError(f"{where}: no answer in {limit_s:.0f} s; is the phone still connected?") from None
        except ValueError:
            raise FlashError(f"{where}: answers with a line without an end") from None
    return Answer(code, "\n".join(lines), last_line(complaint.decode("utf-8", "replace")))


@asynccontextmanager
async def _process(command: Sequence[str], where: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program with pipes, which is over when this is."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    except FileNotFoundError:
        raise FlashError(f"{command[0]}: not found on this host; install Android's platform tools (Debian: adb)") from None
    except OSError as error:
        raise FlashError(f"{where}: {command[0]} cannot be run: {error.strerror}") from None
    try:
        yield process
    finally:
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            process.kill()
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):  # a server that it has started holds its pipes
                await asyncio.wait_for(process.wait(), _END_S)
