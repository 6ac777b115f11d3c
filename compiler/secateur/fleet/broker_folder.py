"""The folder of a mosquitto for one machine: configuration, certificates, and a password for each device.

``secateur broker config`` makes it; writing a card adds a device to it, while the broker runs.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import ipaddress
import logging
import os
import secrets
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import psutil
from msgspec import Meta

from secateur.fleet import certificates
from secateur.fleet.mosquitto_conf import CONTROLLER, configuration
from secateur.fleet.mosquitto_passwords import format_passwords, hash_password, matches, parse_passwords
from secateur_agent.protocol.topics import TopicError, checked_id
from secateur_agent.store import make_folder, write_atomic

log = logging.getLogger("secateur.fleet")

_ALWAYS_NAMES, _ALWAYS_ADDRESSES = ("localhost",), ("127.0.0.1", "::1")
_SETTINGS = "broker.json"


class BrokerFolderError(ValueError):
    """A broker's folder is not there, is damaged or cannot be used."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for last: names and addresses that devices reach the broker by, the first of them preferred."""

    v: int = 1
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    port: Annotated[int, Meta(ge=1, le=65535)] = 8883
    listen: str = ""


class BrokerFolder:
    """A folder that `configure` has made.

    Args:
        path: the folder.

    Raises:
        BrokerFolderError: if it is not one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.settings = _read_settings(self.path)

    @property
    def url(self) -> str:
        """The broker's address for devices, without a user."""
        first = [*self.settings.names, *self.settings.addresses][0]
        return f"mqtts://{_in_url(first)}:{self.settings.port}"

    @property
    def ca_path(self) -> Path:
        """The certificate that devices need in order to trust the broker."""
        return self.path / "ca.pem"

    @property
    def controller_url(self) -> str:
        """What ``secateur serve --broker`` takes on this machine."""
        here = _only_address(self.settings) or "localhost"
        return f"mqtts://{CONTROLLER}@{_in_url(here)}:{self.settings.port}"

    @property
    def controller_password_path(self) -> Path:
        """What ``secateur serve --password-file`` takes."""
        return self.path / "controller-password"

    def devices(self) -> list[str]:
        """Return the devices that have a password, sorted.

        Raises:
            secateur.fleet.mosquitto_passwords.PasswordFileError: if the file is damaged.
        """
        return sorted(set(self._passwords()) - {CONTROLLER})

    def add_device(self, device: str) -> str:
        """Give a device a password, a new one if it has one; a running mosquitto is told.

        A device that is connected with the password of before is disconnected, and needs the new one.

        Returns:
            The password. It is kept nowhere else.

        Raises:
            BrokerFolderError: if the id is not well formed.
            secateur.fleet.mosquitto_passwords.PasswordFileError: if the file is damaged.
            secateur_agent.store.StoreError: if it cannot be written.
        """
        password = new_password()
        with self._changing():
            self._write({**self._passwords(), _checked(device): hash_password(password)})
        self.tell()
        return password

    def remove_device(self, device: str) -> bool:
        """Take a device's password away; a running mosquitto is told and lets it in no more. Return whether it had one.

        Raises: as `add_device`.
        """
        with self._changing():
            users = self._passwords()
            had = users.pop(_checked(device), None) is not None
            if had:
                self._write(users)
        if had:
            self.tell()
        return had

    def tell(self) -> bool:
        """Have a running mosquitto read passwords, rules and certificates again; return whether one was told."""
        try:
            pid = int((self.path / "mosquitto.pid").read_bytes()[:20])
            # The file may be of before a power cut, and the number another's by now.
            if not _runs_with(psutil.Process(pid), self.path / "mosquitto.conf"):
                return False
        except (OSError, ValueError, OverflowError, psutil.Error):
            return False
        try:
            os.kill(pid, signal.SIGHUP)
        except PermissionError:
            log.warning("mosquitto (process %d) may not be signalled by this user: run 'sudo kill -HUP %d'", pid, pid)
            return False
        except ProcessLookupError:
            return False
        return True

    def _passwords(self) -> dict[str, str]:
        path = self.path / "passwords"
        try:
            return parse_passwords(path.read_bytes(), str(path))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise BrokerFolderError(f"{path}: cannot be read: {error.strerror}") from None

    def _write(self, users: dict[str, str]) -> None:
        write_atomic(self.path / "passwords", format_passwords(users), mode=0o600)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Keep other processes from changing the passwords meanwhile."""
        try:
            lock = (self.path / "lock").open("w")
        except OSError as error:
            raise BrokerFolderError(f"{self.path}: {error.strerror}") from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
            self._give_to_owner()

    def _give_to_owner(self) -> None:
        """Leave root nothing in a folder of somebody else: its mosquitto could not read what root has written there.

        Raises:
            BrokerFolderError: if that fails.
        """
        if os.geteuid() != 0:
            return
        try:
            owner = self.path.stat()
            for file in self.path.iterdir():
                if file.lstat().st_uid == 0 != owner.st_uid:
                    os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)
        except OSError as error:
            raise BrokerFolderError(f"{error.filename}: {error.strerror}") from None

    def _ensure_controller(self) -> None:
        with self._changing():
            users = self._passwords()
            path = self.controller_password_path
            with contextlib.suppress(OSError, UnicodeDecodeError):
                if CONTROLLER in users and matches(path.read_text("utf-8").strip(), users[CONTROLLER]):
                    return
            password = new_password()
            write_atomic(path, f"{password}\n".encode(), mode=0o600)
            self._write({**users, CONTROLLER: hash_password(password)})


class Configured(msgspec.Struct, frozen=True):
    """What `configure` did: whether CA and server certificate are new, and whether a running mosquitto was told."""

    folder: BrokerFolder
    new_ca: bool
    new_server: bool
    told: bool


def configure(
    path: Path,
    names: Sequence[str] = (),
    addresses: Sequence[str] = (),
    port: int | None = None,
    listen: str | None = None,
    now: datetime.datetime | None = None,
) -> Configured:
    """Make a broker's folder, or bring it up to date: keys, passwords and all that is not given stay as they are.

    Args:
        path: the folder.
        names: host names that devices reach it by; none: as before, or this machine's.
        addresses: IP addresses, likewise.
        port: TCP port; None: as before, or 8883.
        listen: address that it listens on, '' for all; None: as before, or all.
        now: the time.

    Raises:
        secateur.fleet.certificates.CertificateError: if a name or address is not one, or a certificate is damaged.
        BrokerFolderError: if the folder holds something else, or is damaged.
        secateur_agent.store.StoreError: if it cannot be written.
    """
    now = now or datetime.datetime.now(datetime.timezone.utc)
    try:
        return _configure(path.absolute(), names, addresses, port, listen, now)
    except OSError as error:
        raise BrokerFolderError(f"{error.filename or path}: {error.strerror}") from None


def _configure(
    path: Path,
    names: Sequence[str],
    addresses: Sequence[str],
    port: int | None,
    listen: str | None,
    now: datetime.datetime,
) -> Configured:
    if (path / _SETTINGS).exists():
        before = _read_settings(path)
    elif path.exists() and any(path.iterdir()):
        raise BrokerFolderError(f"{path}: is not empty, and not a broker's folder; name another")
    else:
        before = Settings()
    if names or addresses:
        given_names = [certificates.checked_name(each) for each in names]
        given_addresses = [certificates.checked_address(each) for each in addresses]
    elif before.names or before.addresses:
        given_names, given_addresses = list(before.names), list(before.addresses)
    else:
        given_names, given_addresses = _own_names(), []
    settings = Settings(
        names=tuple(dict.fromkeys(given_names)),
        addresses=tuple(dict.fromkeys(given_addresses)),
        port=port or before.port,
        listen=before.listen if listen is None else certificates.checked_address(listen) if listen else "",
    )
    files = configuration(path, settings.port, settings.listen)
    make_folder(path)
    path.chmod(0o700)
    write_atomic(path / _SETTINGS, msgspec.json.format(msgspec.json.encode(settings)) + b"\n")
    new_ca = certificates.ensure_ca(path, now)
    all_names = list(dict.fromkeys([*settings.names, *_ALWAYS_NAMES]))
    only = _only_address(settings)
    all_addresses = list(dict.fromkeys([*settings.addresses, *([only] if only else []), *_ALWAYS_ADDRESSES]))
    new_server = certificates.ensure_server(path, all_names, all_addresses, now)
    for name, text in files.items():
        write_atomic(path / name, text.encode())
    folder = BrokerFolder(path)
    folder._ensure_controller()
    return Configured(folder, new_ca, new_server, folder.tell())


def new_password() -> str:
    """Return a password of 256 random bits."""
    return secrets.token_urlsafe(32)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _only_address(settings: Settings) -> str:
    """The one address that the broker listens on, '' if it listens on all."""
    return settings.listen if settings.listen and not ipaddress.ip_address(settings.listen).is_unspecified else ""


def _own_names() -> list[str]:
    """This machine's name, as itself and as multicast DNS (Avahi) offers it to others."""
    name = os.uname().nodename.split(".")[0]
    with contextlib.suppress(certificates.CertificateError):
        return [certificates.checked_name(f"{name}.local"), name]
    return ["localhost"]


def _runs_with(process: psutil.Process, conf: Path) -> bool:
    """Whether a process was started with this configuration, however its path was written."""
    arguments = process.cmdline()
    if str(conf) in arguments:
        return True
    folder = Path(process.cwd())
    return any(each.endswith(conf.name) and (folder / each).resolve() == conf.resolve() for each in arguments)


def _read_settings(path: Path) -> Settings:
    file = path / _SETTINGS
    try:
        settings = msgspec.json.decode(file.read_bytes(), type=Settings)
        names = tuple(map(certificates.checked_name, settings.names))
        addresses = tuple(map(certificates.checked_address, settings.addresses))
        listen = certificates.checked_address(settings.listen) if settings.listen else ""
    except FileNotFoundError:
        raise BrokerFolderError(f"{path}: not a broker's folder; make one with 'secateur broker config -o {path}'") from None
    except OSError as error:
        raise BrokerFolderError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise BrokerFolderError(f"{file}: damaged: {error}; remove it and run 'secateur broker config' again") from None
    if settings.v != 1 or not (names or addresses):
        raise BrokerFolderError(f"{file}: of another version, or empty; remove it and run 'secateur broker config' again")
    return msgspec.structs.replace(settings, names=names, addresses=addresses, listen=listen)


def _checked(device: str) -> str:
    try:
        return checked_id(device)
    except TopicError as error:
        raise BrokerFolderError(f"device: {error}") from None
