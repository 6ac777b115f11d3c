"""One power-on of an emulated board: QEMU and the card it boots from, as two processes that end together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.boards.firmware import BootFiles
from tests.boards.qmp import Qmp


@dataclass(frozen=True)
class Model:
    """A kind of board that QEMU emulates.

    Attributes:
        arguments: QEMU's, for the machine.
        uart: the serial port of its console, as its kernel calls it.
        device_tree: name of its device tree on the card, None if QEMU makes one.
        pci: whether card and network are devices on PCI; else the card is in the board's own slot, the network on USB, and
            there is no port for the tests' shell.
    """

    arguments: tuple[str, ...]
    uart: str
    device_tree: str | None
    pci: bool


VIRT = Model(("-M", "virt", "-cpu", "cortex-a72", "-smp", "2"), "ttyAMA0", None, pci=True)
# Its second serial port: the first belongs to Bluetooth.
RASPBERRY_PI_3B = Model(("-M", "raspi3b"), "ttyS1", "bcm2837-rpi-3-b.dtb", pci=False)


class Machine:
    """A running board.

    The card is served by nbdkit with a cache in front of it that only a flush empties, for cards have such a cache: what the
    board wrote and did not flush is lost with the power, whatever the host's own cache holds. A card in the board's own slot
    has none: QEMU's knows no flush, so that all would be lost.

    Args:
        model: the kind of board.
        files: what the firmware read.
        card: the card's image.
        folder: for sockets and logs.
        memory_mb: size of its memory.
        clock: `-rtc base=` of QEMU: `utc`, or a date for boards without a clock chip.
        ports: port of the board → port of this host's loopback that leads to it.
    """

    def __init__(
        self, model: Model, files: BootFiles, card: Path, folder: Path, memory_mb: int, clock: str, ports: Mapping[int, int]
    ) -> None:
        self.console_log = folder / "console.log"
        self.shell_socket = folder / "shell.sock"
        self._card_socket, self._control_socket = folder / "card.sock", folder / "qmp.sock"
        for path in (self.shell_socket, self._card_socket, self._control_socket):
            path.unlink(missing_ok=True)
        self._log = (folder / "qemu.log").open("ab")
        self._card = self._start_card(card, folder, cached=model.pci)
        self._qemu: subprocess.Popen[bytes] | None = None
        try:
            _wait_for_socket(self._card_socket, self._card)
            command = self._command(model, files, memory_mb, clock, ports)
            self._log.write((" ".join(command) + "\n").encode())
            self._log.flush()
            self._qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
            _wait_for_socket(self._control_socket, self._qemu)
            self.control = Qmp(self._control_socket)
        except BaseException:
            self.cut_power()
            raise

    @property
    def pids(self) -> list[int]:
        """Processes of this board."""
        return [process.pid for process in (self._card, self._qemu) if process is not None]

    @property
    def cpu_s(self) -> float:
        """Seconds of processor that it has taken; 0 if it is off."""
        try:
            times = [psutil.Process(pid).cpu_times() for pid in self.pids]
        except psutil.NoSuchProcess:
            return 0.0
        return sum(each.user + each.system for each in times)

    @property
    def running(self) -> bool:
        """Whether it has power."""
        return self._qemu is not None and self._qemu.poll() is None

    def wait(self) -> str:
        """Wait until it goes off by itself.

        Returns:
            QEMU's reason: `guest-reset` if it wants to boot again, `guest-shutdown`, `guest-panic`, or `` if it was cut off.
        """
        assert self._qemu is not None
        self._qemu.wait()
        reasons = [event["data"]["reason"] for event in self.control.drain() if event["event"] == "SHUTDOWN"]
        self._release(terminate=True)
        return str(reasons[-1]) if reasons else ""

    def cut_power(self) -> None:
        """Off, now: the card first, so that nothing in its cache can still be saved."""
        self._release(terminate=False)

    def _release(self, terminate: bool) -> None:
        # After a shutdown by itself the board has flushed: there the card may end in peace.
        _end(self._card, signal.SIGTERM if terminate else signal.SIGKILL)
        _end(self._qemu, signal.SIGKILL)
        with contextlib.suppress(AttributeError):
            self.control.close()
        self._log.close()

    def _start_card(self, card: Path, folder: Path, cached: bool) -> subprocess.Popen[bytes]:
        command = [
            "nbdkit", "--foreground", "--exit-with-parent", "--unix", str(self._card_socket), "--filter=cache",
            "file", str(card), f"cache={'writeback' if cached else 'writethrough'}",
        ]  # fmt: skip
        # The cache is a file without a name in TMPDIR.
        return subprocess.Popen(command, env={**os.environ, "TMPDIR": str(folder)}, stdout=self._log, stderr=self._log)

    def _command(self, model: Model, files: BootFiles, memory_mb: int, clock: str, ports: Mapping[int, int]) -> list[str]:
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{host}-:{board}" for board, host in ports.items())
        command = [
            "qemu-system-aarch64", *model.arguments, "-m", str(memory_mb), "-accel", "tcg,thread=multi,tb-size=512",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-rtc", f"base={clock}",
            "-kernel", str(files.kernel), "-append", files.command_line,
            "-chardev", f"socket,id=console,path={self.console_log.with_suffix('.sock')},server=on,wait=off,"
            f"logfile={self.console_log},logappend=on",
            *(() if model.pci else ("-serial", "null")), "-serial", "chardev:console",
            "-qmp", f"unix:{self._control_socket},server=on,wait=off",
            "-chardev", f"socket,id=shell,path={self.shell_socket},server=on,wait=off",
            "-drive", f"if={'none' if model.pci else 'sd'},id=card,format=raw,cache=writeback,"
            f"file.driver=nbd,file.server.type=unix,file.server.path={self._card_socket}",
            "-netdev", f"user,id=network{forwards}",
        ]  # fmt: skip
        if files.initramfs is not None:
            command += ["-initrd", str(files.initramfs)]
        if files.device_tree is not None:
            command += ["-dtb", str(files.device_tree)]
        if model.pci:
            command += [
                "-device", "virtio-blk-pci,drive=card", "-device", "virtio-net-pci,netdev=network,romfile=",
                "-device", "virtio-rng-pci", "-device", "virtio-balloon-pci,id=balloon",
                "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=shell,name=test-board",
            ]  # fmt: skip
        else:
            command += ["-device", "usb-net,netdev=network"]
        return command


def _wait_for_socket(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{path.name}: its process did not start; {path.parent / 'qemu.log'} says why")
        time.sleep(0.02)


def _end(process: subprocess.Popen[bytes] | None, how: signal.Signals) -> None:
    if process is None:
        return
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
