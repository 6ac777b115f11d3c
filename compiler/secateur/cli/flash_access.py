"""What a device is known by to its host: a password at the broker, a one-time token. Made when it is written, not before."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.flash.errors import FlashError
from secateur.flash.provision import Access

if TYPE_CHECKING:
    from secateur.fleet.broker_folder import BrokerFolder
    from secateur.fleet.enrolment import Enrolments


@dataclass(frozen=True)
class HostAccess:
    """How boards reach this host.

    Args:
        state: state folder of the controller, where tokens are kept.
        broker: its address for boards; '' if they serve without a host.
        ca: certificate of the broker's authority, PEM.
        folder: the folder of 'broker config', which gives each device a password; None for a broker without.
        username: name at the broker if it is one for all devices.
        password: its password.
        replace: whether a board may take the id of a device that is enrolled.
    """

    state: Path
    broker: str = ""
    ca: bytes = b""
    folder: BrokerFolder | None = None
    username: str = ""
    password: str = ""
    replace: bool = False

    def require_free(self, devices: Sequence[str]) -> None:
        """Make sure that no enrolled device has one of these ids: it could not reach its broker any more.

        Raises:
            FlashError: if one has, and that is not wanted.
        """
        if not self.broker or self.replace:
            return
        with self._enrolments() as enrolments:
            for device in devices:
                if enrolments.has_device(device):
                    raise FlashError(
                        f"device {device}: is enrolled already; choose another id, "
                        "or say --replace if this board takes its place"
                    )

    def new(self, device: str) -> Access:
        """Give a device a password and a token; those that it had end: the password now, its key when the token is used."""
        if not self.broker:
            return Access()
        with self._enrolments() as enrolments:
            token = enrolments.create(device, note="secateur flash")
        if self.folder is None:
            return Access(self.broker, self.ca, self.username, self.password, token)
        return Access(self.broker, self.ca, device, self.folder.add_device(device), token)

    def kept(self, device: str) -> Access | None:
        """Return the access of a device that is known and reaches the host already; None if it must get a new one.

        A token that is newer than the one in use means that password and token of a board were changed: by a card that was
        made meanwhile, or by a first attempt on another board that takes this id.
        """
        if not self.broker:
            return Access()
        with self._enrolments() as enrolments:
            tokens = enrolments.of(device)
        if not tokens or not tokens[-1].used_key or (self.folder is not None and device not in self.folder.devices()):
            return None
        if self.folder is None:  # one password for all: what is given now is what holds
            return Access(self.broker, self.ca, self.username, self.password)
        return Access(self.broker, self.ca, device, keeps_password=True)

    def _enrolments(self) -> AbstractContextManager[Enrolments]:
        from secateur.fleet.enrolment import open_enrolments

        return open_enrolments(self.state)


def host_access(
    state: Path,
    broker: str,
    broker_folder: Path | None,
    ca_file: Path | None,
    password_file: Path | None,
    alone: bool,
    replace: bool,
) -> HostAccess:
    """Check the options that say how boards reach the host.

    Raises:
        FlashError: if they do not fit together, or a file cannot be read.
        secateur.fleet.broker_folder.BrokerFolderError: if the folder is not a broker's.
        secateur_agent.link.broker.BrokerAddressError: if the address is malformed.
    """
    from secateur.fleet.broker_folder import BrokerFolder
    from secateur_agent.link.broker import BrokerAddress

    if alone:
        if broker or broker_folder:
            raise FlashError("--no-broker: leave out --broker and --broker-folder, or leave it out")
        return HostAccess(state)
    if broker_folder is None and not broker:
        raise FlashError(
            "say how boards reach this host: --broker-folder DIR (of 'secateur broker config'), --broker URL, "
            "or --no-broker for boards that serve by themselves"
        )
    folder = BrokerFolder(broker_folder) if broker_folder is not None else None
    url = broker or (folder.url if folder is not None else "")
    address = BrokerAddress.parse(url)
    ca = _read(ca_file or (folder.ca_path if folder is not None and address.tls else None), "--ca-file")
    if ca and b"-----BEGIN CERTIFICATE-----" not in ca:
        raise FlashError(f"--ca-file {ca_file}: no certificate in PEM form there")
    password = _read(password_file, "--password-file").decode("utf-8", "replace").rstrip("\r\n")
    if password and (folder is not None or not address.username):
        raise FlashError("--password-file: is for a broker with one user for all, --broker mqtts://user@host")
    return HostAccess(state, url, ca, folder, address.username or "", password, replace)


def _read(path: Path | None, option: str) -> bytes:
    try:
        return path.read_bytes() if path is not None else b""
    except OSError as error:
        raise FlashError(f"{option} {path}: cannot be read: {error.strerror}") from None
