"""A simulated phone: no Android, no Termux and no phone is here.

What is simulated: a folder that looks like Termux's files, with programs of Termux and Android that do what the product
needs of them (``pkg``, ``pm``, ``am``, ``run-as``, ``termux-wake-lock``, ``proot-distro``), and an ``adb``. What is real: a
shell, an SSH server, ``proot`` (Debian's package), and the Debian in it, which is this machine's file system, copied on
write. Needs root, and the Debian packages proot and openssh-server (``tests/install_packages.sh``).
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from secateur.flash.payload import SETUP_PROGRAM, Payload, PayloadFile
from secateur.flash.setup_program import setup_program
from secateur.flash.target import Target
from secateur.flash.termux_scripts import stop_command
from tests.board_payloads import PYTHON, archive
from tests.ports import free_port

SSHD, PROOT = "/usr/sbin/sshd", "/usr/bin/proot"
SERIAL = "R58SIMULATED"

_NOTED = '#!/bin/sh\necho "$(basename "$0") $*" >> "@SIM@/calls"\n'
_TOOLS = {
    "pkg": "",
    "termux-wake-lock": "",
    "termux-wake-unlock": "",
    "pm": 'test -f "@SIM@/boot-app" && echo package:com.termux.boot; exit 0\n',
    "am": 'for each; do case "$each" in com.termux.file:*) setsid "${each#com.termux.file:}" </dev/null & ;; esac; done\n',
    "proot-distro": """\
where="@PREFIX@/var/lib/proot-distro/containers/debian"
case "$1" in
install)
    mkdir -p "$where"
    if [ -f "@SIM@/offline" ]; then
        echo "Error: failed to resolve host name" >&2
        exit 1
    fi
    ln -s "@SIM@/debian/root" "$where/rootfs" ;;
remove)
    [ "$2" != --image ] || exit 1
    [ -d "$where" ] || { echo "Error: container 'debian' is not installed." >&2; exit 1; }
    rm -f "$where/rootfs" && rmdir "$where" ;;
login)
    shift
    set -f
    binds=""
    while [ "$1" != -- ]; do
        case "$1" in --isolated|debian) ;; --bind) binds="$binds -b $2"; shift ;; *) echo "$1?" >&2; exit 2 ;; esac
        shift
    done
    shift
    exec proot -0 -r "$where/rootfs" -b /dev -b /proc -b /sys $binds -w / \\
        /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@" ;;
*) exit 2 ;;
esac
""",
}
_ANDROID = {
    "run-as": """\
[ -f "@SIM@/no-termux" ] && { echo "run-as: unknown package: $1" >&2; exit 1; }
[ -f "@SIM@/not-debuggable" ] && { echo "run-as: package not debuggable: $1" >&2; exit 1; }
shift
cd "@SIM@/data" && exec "$@"
""",
}
_ADB = """\
case "$1" in
devices) echo "List of devices attached"; cat "@SIM@/devices"; echo ;;
-s)
    shift 2
    [ "$1 $2" = "shell -T" ] || exit 2
    exec env -i PATH="@SIM@/android:/usr/bin:/bin" HOME=/ sh -c "exec $3" ;;
esac
"""


class SimulatedPhone:
    """One phone. `adb` is its adb program; `start_sshd` starts an SSH server whose sessions are as Termux's."""

    def __init__(self, folder: Path) -> None:
        for path in (SSHD, PROOT):
            if not Path(path).exists():
                raise RuntimeError(f"{path} is missing; run 'sh tests/install_packages.sh' as root")
        self.folder = folder
        self.prefix, self.home = folder / "data/files/usr", folder / "data/files/home"
        self.adb = folder / "host/adb"
        self.sshd: subprocess.Popen[bytes] | None = None
        self.port, self.key, self.known_hosts = free_port(), folder / "key", folder / "known_hosts"
        for path in (self.prefix / "bin", self.home, folder / "android", folder / "host", folder / "debian"):
            path.mkdir(parents=True)
        (self.prefix / "bin/sh").symlink_to("/bin/sh")
        for name, text in _TOOLS.items():
            self._program(self.prefix / "bin" / name, text)
        for name, text in _ANDROID.items():
            self._program(folder / "android" / name, text)
        self._program(self.adb, _ADB)
        (folder / "devices").write_text(f"{SERIAL}\tdevice\n")
        debian = folder / "debian"
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", str(debian)], check=True)
        for name in ("upper", "work", "root"):
            (debian / name).mkdir()
        layers = f"lowerdir=/,upperdir={debian / 'upper'},workdir={debian / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(debian / "root")], check=True)
        with (self.debian / "etc/login.defs").open("a") as numbers:
            numbers.write("SYS_UID_MAX 873\n")  # userdel minds processes of the same number that other containers run
        self._before = self._written()

    @property
    def debian(self) -> Path:
        """Debian's file system, whether it is installed or not."""
        return self.folder / "debian/root"

    def _program(self, path: Path, text: str) -> None:
        text = (_NOTED + text).replace("@SIM@", str(self.folder)).replace("@PREFIX@", str(self.prefix))
        path.write_text(text)
        path.chmod(0o755)

    def replace(self, name: str, text: str) -> None:
        """Let a program of Termux be another one."""
        self._program(self.prefix / "bin" / name, text)

    def set(self, name: str) -> None:
        """Let something be so: ``offline``, ``boot-app``, ``not-debuggable``, ``no-termux``."""
        (self.folder / name).touch()

    def calls(self) -> str:
        """Every command line of the simulated programs."""
        path = self.folder / "calls"
        return path.read_text() if path.exists() else ""

    def install_debian(self) -> None:
        """As a person does who has a Debian already."""
        subprocess.run([self.prefix / "bin/proot-distro", "install", "debian"], check=True)

    def hide_python(self) -> None:
        """Let Debian have no python3, and an apt-get (a simulated one) that installs it."""
        (self.debian / "usr/bin/python3").unlink()
        (self.debian / "usr/bin/apt-get").unlink()
        script = f'#!/bin/sh\n[ "$2" = update ] || ln -sf python{PYTHON} /usr/bin/python3\n'
        (self.debian / "usr/bin/apt-get").write_text(script)
        (self.debian / "usr/bin/apt-get").chmod(0o755)
        self._before = self._written()

    def files(self) -> list[str]:
        """All files and folders in Termux's home."""
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*"))

    def left_in_debian(self) -> list[str]:
        """What has changed in Debian, but for what changes by itself and useradd's lock and copies."""
        passing = ("var/log/", "var/cache/", "tmp/", "run/", "root/", "etc/.pwd.lock")
        changed = [name for name, content in self._written().items() if self._before.get(name) != content]
        return sorted(name for name in changed if not name.startswith(passing) and not name.endswith("-"))

    def _written(self) -> dict[str, bytes]:
        """Files and links that are not as this machine has them."""
        upper = self.folder / "debian/upper"
        found = {}
        for path in upper.rglob("*"):
            below = Path("/") / path.relative_to(upper)
            if path.is_symlink() or path.is_file():
                content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
                if path.is_symlink() or not below.is_file() or below.read_bytes() != content:
                    found[str(path.relative_to(upper))] = content
        return found

    def log(self) -> str:
        """What the agent and the script have said."""
        path = self.home / ".secateur/agent.log"
        return path.read_text() if path.exists() else ""

    def number(self, name: str) -> int:
        """A process id that was kept, 0 if there is none."""
        try:
            return int((self.home / f".secateur/{name}.pid").read_text())
        except (OSError, ValueError):
            return 0

    def start_sshd(self) -> None:
        """Start a real SSH server on a port of the loopback address."""
        host_key = self.folder / "host_key"
        for path in (self.key, host_key):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
        (self.folder / "authorized").write_text(self.key.with_suffix(".pub").read_text())
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {host_key.with_suffix('.pub').read_text()}")
        config = self.folder / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nStrictModes no\nUsePAM no\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder / 'authorized'}\nPasswordAuthentication no\nPermitRootLogin yes\n"
            f"SetEnv PREFIX={self.prefix} HOME={self.home} PATH={self.prefix / 'bin'}:/usr/bin:/bin\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        log = (self.folder / "sshd.log").open("wb")
        self.sshd = subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stderr=log)
        deadline = time.monotonic() + 30
        while b"listening" not in (self.folder / "sshd.log").read_bytes():
            assert time.monotonic() < deadline, (self.folder / "sshd.log").read_text()
            time.sleep(0.05)

    def close(self) -> None:
        """Stop what runs and remove all of it."""
        environment = {"HOME": str(self.home), "PATH": "/usr/bin:/bin"}
        subprocess.run(["sh", "-c", stop_command()], env=environment, check=False)
        if self.sshd is not None:
            self.sshd.kill()
            self.sshd.wait()
        subprocess.run(["umount", str(self.folder / "debian/root")], check=False)
        subprocess.run(["umount", "-l", str(self.folder / "debian")], check=False)


SECRETS = ("the-broker-password", "the-one-time-token")


def standing_in(device: str, target: Target, release: str, ends: bool = False) -> Payload:
    """A payload whose agent is a stand-in: it says that it runs, and then it runs, or ends."""
    agent = (
        "import time\n"
        + f"print('agent {release} runs', flush=True)\n"
        + ("raise SystemExit(3)\n" if ends else "time.sleep(3600)\n")
    )
    package = "site-packages/secateur_agent"
    members = {
        f"{package}/__init__.py": b"",
        f"{package}/__main__.py": agent.encode(),
        f"{package}/weight": os.urandom(300_000),
    }
    files = {
        "environment.tar.gz": PayloadFile(archive(members)),
        "agent.toml": PayloadFile(f'device = "{device}"\n'.encode()),
        "root.json": PayloadFile(b"{}\n"),
        "secateur-agent.service": PayloadFile(b"# unit\n"),
        SETUP_PROGRAM: PayloadFile(setup_program()),
        "broker-password": PayloadFile(f"{SECRETS[0]}\n".encode(), secret=True),
        "enrolment-token": PayloadFile(f"{SECRETS[1]}\n".encode(), secret=True),
    }
    table = {
        "v": 1,
        "device": device,
        "release": release,
        "python": target.python,
        "machine": target.machine,
        "unpacked_bytes": 1000,
        "clock_s": 1_700_000_000,
        "files": {name: {"sha256": file.sha256(), "size": file.size, "secret": file.secret} for name, file in files.items()},
    }
    files["provision.json"] = PayloadFile(json.dumps(table).encode())
    return Payload(device, files)


def alive(number: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        os.kill(number, 0)
        return number > 0 and Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
