"""An emulated arm64 board with a card in it: power on, look, pull the power."""

from __future__ import annotations

import base64
import contextlib
import re
import resource
import shlex
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tests.boards import firmware
from tests.boards.device_tree import with_power_monitor
from tests.boards.guest_shell import GuestShell
from tests.boards.machine import VIRT, Machine, Model
from tests.ports import free_port

# A board that boots more often than this without anybody pulling its power boots for ever.
_MOST_RESETS = 6


class BoardFailed(AssertionError):
    """The board did not do what was waited for; the message ends with what its console showed last."""


class Board:
    """A board. Use it as a context: at its end the power is off.

    Args:
        card: the image in its slot, which it writes to.
        folder: for logs and sockets of this board; its path must be short (sockets), as pytest's tmp_path is.
        model: the kind of board.
        memory_mb: its memory.
        clock: what its clock chip shows at power-on, `utc` for now; `1970-01-01T00:00:00` for boards that have none.
        reachable: ports of the board that this host may connect to; 22 always is. `ports` tells where.
        command_line: more for the kernel, to see what a failing boot does.
    """

    def __init__(
        self,
        card: Path,
        folder: Path,
        model: Model = VIRT,
        memory_mb: int = 1024,
        clock: str = "utc",
        reachable: Iterable[int] = (),
        command_line: str = "",
    ) -> None:
        self.card = card
        self.ports = {port: free_port() for port in (22, *reachable)}
        self.boots = 0
        self._folder = folder
        self._model = model
        self._memory_mb = memory_mb
        self._clock = clock
        self._more = command_line
        self._machine: Machine | None = None
        self._shell: GuestShell | None = None
        self._minder: threading.Thread | None = None
        self._on = False
        self._lock = threading.RLock()
        self._seen = 0
        self._powered_on_at = 0.0
        self._children_before_s = 0.0
        self._fault = ""
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self.power_cut()

    def power_on(self) -> None:
        """Switch it on. As the Pi's firmware does, it reads kernel and command line from the card, also after each reset."""
        if self._on:
            raise ValueError("the board is on already")
        self._on = True
        self._fault = ""
        self._seen = self._console_size()
        self._powered_on_at = time.monotonic()
        self._children_before_s = _ended_children_s()
        self._boot()
        self._minder = threading.Thread(target=self._mind, daemon=True)
        self._minder.start()

    def power_cut(self) -> None:
        """Pull the plug: nothing is written any more. Does nothing if it is off."""
        with self._lock:
            self._on = False
            if self._machine is not None:
                self._machine.cut_power()
            self._forget_machine()
        if self._minder is not None:
            self._minder.join(timeout=30)
            self._minder = None

    def shutdown(self, limit_s: float = 90) -> None:
        """Have it shut down, and wait until it is off."""
        with contextlib.suppress(BoardFailed):
            self.run("systemctl poweroff --no-block", limit_s=20)
        deadline = time.monotonic() + limit_s
        while self.on:
            if time.monotonic() > deadline:
                raise self._failure(f"did not shut down within {limit_s:.0f} s")
            time.sleep(0.1)
        self.power_cut()

    @property
    def on(self) -> bool:
        """Whether it has power and has not shut itself down."""
        return self._on

    @property
    def pids(self) -> list[int]:
        """Processes that emulate it."""
        with self._lock:
            return self._machine.pids if self._machine is not None else []

    @property
    def uptime_s(self) -> float:
        """Seconds since power-on, resets included."""
        return time.monotonic() - self._powered_on_at

    @property
    def cpu_s(self) -> float:
        """Seconds of processor that emulating it has taken since power-on: on a busy machine more telling than the time."""
        with self._lock:
            running = self._machine.cpu_s if self._machine is not None else 0.0
        return _ended_children_s() - self._children_before_s + running

    @property
    def console(self) -> str:
        """All that its serial console has shown since it was made."""
        log = self._folder / "console.log"
        return log.read_bytes().decode(errors="replace") if log.exists() else ""

    def wait_for(self, pattern: str, limit_s: float) -> str:
        """Wait until the console shows something that it has not shown to an earlier wait since power-on.

        Args:
            pattern: a regular expression.
            limit_s: for how long.

        Returns:
            What matched.

        Raises:
            BoardFailed: it did not come.
        """
        deadline = time.monotonic() + limit_s
        while True:
            text = self._console_bytes()[self._seen :].decode(errors="replace")
            found = re.search(pattern, text)
            if found is not None:
                self._seen += len(text[: found.end()].encode(errors="replace"))
                return found.group(0)
            self._check_alive(f"before its console showed {pattern!r}")
            if time.monotonic() > deadline:
                raise self._failure(f"{pattern!r} did not appear on the console within {limit_s:.0f} s")
            time.sleep(0.1)

    def run(self, script: str, limit_s: int = 60, check: bool = True) -> str:
        """Run a script of bash as root: for the tests to look and touch; the product knows nothing of it.

        Args:
            script: what to run; from early in the boot on.
            limit_s: how long it may take, waiting for the board to come so far included.
            check: whether it must succeed.

        Returns:
            What it printed, without white space at the end.

        Raises:
            BoardFailed: it failed, or the board did not answer.
        """
        status, output = self._run(script, limit_s)
        text = output.decode(errors="replace").rstrip()
        if check and status != 0:
            raise self._failure(f"on the board {script!r} ended with {status}:\n{text}")
        return text

    def wait_until(self, script: str, limit_s: float, every_s: float = 1.0) -> float:
        """Wait until a script succeeds on the board.

        Returns:
            Seconds since power-on.

        Raises:
            BoardFailed: it did not within the limit; its last output is told.
        """
        deadline = time.monotonic() + limit_s
        output = ""
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError, ConnectionError):
                # A reset in between is an ordinary part of first boots.
                status, printed = self._run(script, max(int(left), 5))
                if status == 0:
                    return self.uptime_s
                output = printed.decode(errors="replace").rstrip()
            time.sleep(every_s)
        raise self._failure(f"{script!r} did not succeed on the board within {limit_s:.0f} s; last:\n{output}")

    def read(self, path: str) -> bytes:
        """Content of a file on the running board."""
        status, content = self._run(f"cat {shlex.quote(path)}", 60)
        if status != 0:
            raise self._failure(content.decode(errors="replace").rstrip())
        return content

    def write(self, path: str, content: bytes) -> None:
        """Write a file on the running board; its folder must exist."""
        self.run(f"base64 -d > {shlex.quote(path)} <<'END'\n{base64.encodebytes(content).decode()}END\n", limit_s=120)

    def set_balloon_mb(self, memory_mb: int) -> None:
        """Leave the board so much of its memory; the rest is taken away from its kernel."""
        with self._lock:
            if self._machine is None:
                raise ValueError("the board is off")
            self._machine.control.execute("balloon", value=memory_mb << 20)

    # ------------------------------------------------------------------------------------------------------------------

    def _boot(self) -> None:
        files = firmware.load(self.card, self._folder, self._model.uart, self._model.device_tree)
        tree = files.device_tree
        if tree is None:
            tree = self._folder / "board.dtb"
            if not tree.exists():
                with_power_monitor(self._model.arguments, self._memory_mb, tree)
        files = replace(files, device_tree=tree, command_line=f"{files.command_line} {self._more}".strip())
        self._machine = Machine(self._model, files, self.card, self._folder, self._memory_mb, self._clock, self.ports)
        self._shell = GuestShell(self._machine.shell_socket)
        self.boots += 1

    def _mind(self) -> None:
        """Boot again when the board resets itself; note when it goes off."""
        for _ in range(_MOST_RESETS):
            machine = self._machine
            if machine is None:
                return
            reason = machine.wait()
            with self._lock:
                if not self._on or self._machine is not machine:
                    return
                self._forget_machine()
                if reason != "guest-reset":
                    self._on = False
                    self._fault = "" if reason == "guest-shutdown" else f"QEMU ended ({reason or 'by itself'})"
                    return
                try:
                    self._boot()
                except Exception as error:
                    self._on, self._fault = False, f"it did not boot again: {error}"
                    return
        self.power_cut_for(f"reset itself {_MOST_RESETS} times")

    def power_cut_for(self, fault: str) -> None:
        """Switch it off because of a fault, which every later wait tells."""
        with self._lock:
            self._on, self._fault = False, fault
            if self._machine is not None:
                self._machine.cut_power()
            self._forget_machine()

    def _forget_machine(self) -> None:
        if self._shell is not None:
            self._shell.close()
        self._machine = self._shell = None

    def _run(self, script: str, limit_s: int) -> tuple[int, bytes]:
        deadline = time.monotonic() + limit_s
        while True:
            shell = self._shell
            self._check_alive(f"while it was asked {script!r}")
            if shell is not None:
                try:
                    return shell.run(script, max(int(deadline - time.monotonic()), 1))
                except TimeoutError as error:
                    raise self._failure(f"did not answer {script!r} within {limit_s} s") from error
                except (ConnectionError, OSError):
                    shell.close()
            if time.monotonic() > deadline:
                raise self._failure(f"was not there for {script!r} within {limit_s} s")
            time.sleep(0.2)

    def _check_alive(self, when: str) -> None:
        if not self._on:
            raise self._failure(f"went off {when}" + (f": {self._fault}" if self._fault else ""))

    def _failure(self, what: str) -> BoardFailed:
        tail = "\n".join(self.console.replace("\r", "").splitlines()[-40:])
        return BoardFailed(f"the board, {self.uptime_s:.0f} s after power-on: {what}\n--- its console, the end ---\n{tail}")

    def _console_bytes(self) -> bytes:
        log = self._folder / "console.log"
        return log.read_bytes() if log.exists() else b""

    def _console_size(self) -> int:
        return len(self._console_bytes())


def _ended_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
