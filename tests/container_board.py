"""A board that is this machine's file system, copied on write, with a systemd and an SSH server of its own.

Real here: systemd, sshd, sudo, accounts, the setup program, the agent. Not real: the processor (this machine's) and the
kernel, which it shares. What is written stays in a folder (``written``), so that a test sees what is left behind. Needs root
and the Debian packages systemd-container, openssh-server and sudo (``tests/install_packages.sh``).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil

from tests.ports import free_port

SSHD, NSPAWN = "/usr/sbin/sshd", "/usr/bin/systemd-nspawn"
USER, PASSWORD = "pi", "raspberry"
_CHECKOUT = Path(__file__).resolve().parents[1]
_BOOT_LIMIT_S = 90.0
_PASSING = ("run/", "tmp/", "var/tmp/", "var/log/", "var/lib/systemd/", "var/cache/", "root/.", "home/")
_BACKUPS = tuple(f"etc/{name}-" for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid"))
"""Written by useradd and userdel beside what they change."""
_ABSENT = ("etc/secateur", "opt/secateur", "var/lib/secateur")


class ContainerBoard:
    """One board. ``start`` boots it, ``cut`` ends it as a power cut does, ``stop`` shuts it down."""

    def __init__(self, folder: Path) -> None:
        for path in (SSHD, NSPAWN):
            if not Path(path).exists():
                raise RuntimeError(f"{path} is missing; run 'sh tests/install_packages.sh' as root")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.key = folder / "id_ed25519"
        self.known_hosts = folder / "known_hosts"
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", str(folder)], check=True)
        for name in ("upper", "work", "root"):
            (folder / name).mkdir()
        layers = f"lowerdir=/,upperdir={folder / 'upper'},workdir={folder / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(folder / "root")], check=True)
        self._prepare()
        self._before: dict[str, str] = {}

    @property
    def root(self) -> Path:
        """Its file system, seen from outside."""
        return self._folder / "root"

    def _prepare(self) -> None:
        root, ssh = self.root, self.root / "etc/ssh"
        for path in _ABSENT:
            assert not (root / path).exists(), f"/{path}: this machine is a board itself; the test would not be of a new one"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        host_key = ssh / "board_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key)], check=True)
        public = self.key.with_suffix(".pub").read_text()
        (ssh / "board_authorized").write_text(public)
        (ssh / "board_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {'/etc/ssh/board_key'}\nStrictModes no\nUsePAM yes\n"
            "AuthorizedKeysFile /etc/ssh/board_authorized\nPasswordAuthentication yes\nPermitRootLogin prohibit-password\n"
        )
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {host_key.with_suffix('.pub').read_text()}")
        units = root / "etc/systemd/system"
        (units / "board-ssh.service").write_text(
            "[Service]\nExecStartPre=/bin/mkdir -p /run/sshd\nExecStart=/usr/sbin/sshd -D -e -f /etc/ssh/board_config\n"
        )
        wanted = units / "multi-user.target.wants"
        shutil.rmtree(wanted, ignore_errors=True)  # what this machine runs is not the board's business
        wanted.mkdir()
        (wanted / "board-ssh.service").symlink_to("../board-ssh.service")
        for name in ("ssh.service", "console-getty.service", "systemd-resolved.service", "systemd-networkd.service"):
            (units / name).unlink(missing_ok=True)
            (units / name).symlink_to("/dev/null")
        inside = ["chroot", str(root)]
        subprocess.run([*inside, "useradd", "-m", "-s", "/bin/bash", USER], check=True)
        subprocess.run([*inside, "chpasswd"], input=f"{USER}:{PASSWORD}\n".encode(), check=True)
        (root / "etc/sudoers.d").mkdir(exist_ok=True)
        (root / "etc/sudoers.d/board").write_text(f"{USER} ALL=(ALL) ALL\n")

    def start(self) -> None:
        """Boot, and wait until SSH answers."""
        log = (self._folder / "console.log").open("ab")
        command = [
            NSPAWN,
            "--quiet",
            "-D",
            str(self.root),
            "--boot",
            "--register=no",
            "--keep-unit",
            "--kill-signal=SIGRTMIN+3",
            f"--bind-ro={_CHECKOUT}",  # its /tmp is its own, and this checkout may lie in ours
        ]
        # The file system is laid over this machine's: changing owners of all of it is not wanted.
        self._process = subprocess.Popen(
            [*command, "systemd.unit=multi-user.target"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        deadline = time.monotonic() + _BOOT_LIMIT_S
        while self.run("true").returncode:
            assert time.monotonic() < deadline, self.console()
            assert self._process.poll() is None, self.console()
            time.sleep(0.2)
        self._before = self._before or self.written()

    def console(self) -> str:
        """Return the end of what it printed."""
        return (self._folder / "console.log").read_bytes()[-3000:].decode("utf-8", "replace")

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command there as root, to look at what the product did."""
        ssh = ["ssh", "-q", "-p", str(self.port), "-i", str(self.key), "-o", f"UserKnownHostsFile={self.known_hosts}"]
        ssh += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "root@127.0.0.1", command]
        return subprocess.run(ssh, capture_output=True, text=True, timeout=120, check=False)

    def written(self) -> dict[str, str]:
        """Return every file and link that differs from this machine's, with its digest or target, but for what a running
        system changes by itself."""
        upper = self._folder / "upper"
        found = {}
        for path in upper.rglob("*"):
            name = str(path.relative_to(upper))
            if name.startswith(_PASSING) or name in _BACKUPS:
                continue
            if path.is_symlink():
                found[name] = os.readlink(path)
            elif path.is_file():
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def left_behind(self) -> dict[str, str]:
        """Return what has changed since the first boot."""
        return {name: digest for name, digest in self.written().items() if self._before.get(name) != digest}

    def cut(self) -> None:
        """End everything at once: with its first process, the kernel ends all others of a container."""
        if self._process is not None:
            for pid in (*self._children(), self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    def _children(self) -> list[int]:
        """The processes that nspawn has started: the board's first one is among them."""
        assert self._process is not None
        return [child.pid for child in psutil.Process(self._process.pid).children()] if self._process.poll() is None else []

    def close(self) -> None:
        """End it and remove all of it."""
        self.cut()
        subprocess.run(["umount", "-R", str(self.root)], check=False)
        subprocess.run(["umount", str(self._folder)], check=False)
