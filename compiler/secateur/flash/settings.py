"""What the owner of a board wants of its system besides the agent: name, network, login."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from secateur.flash.errors import FlashError
from secateur_agent.protocol.topics import checked_id

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_KEY = re.compile(r"(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp\d{3}|sk-[a-z0-9@.-]+) [A-Za-z0-9+/]{16,}={0,3}(?: .*)?")
# crypt(5): yescrypt, SHA-512, SHA-256, bcrypt. What is in it may go between single quotes of a shell.
_HASH = re.compile(r"\$(?:y|gy|6|5|2[aby])\$[A-Za-z0-9./$=,]{20,300}")
_RAW_KEY = re.compile(r"[0-9a-fA-F]{64}")
_RESERVED = ("root", "secateur", "daemon", "nobody")


@dataclass(frozen=True)
class Wifi:
    """A network: its name, its 256-bit key in hexadecimal ('' if it is open), and the country whose rules apply."""

    ssid: str
    psk: str
    country: str


@dataclass(frozen=True)
class User:
    """Who may log in: by these public keys, by the password with this hash, or both."""

    name: str
    authorized_keys: tuple[str, ...] = ()
    password_hash: str = ""


@dataclass(frozen=True)
class Settings:
    """What is written besides the payload.

    Args:
        device: id of the device in the fleet.
        wifi: the network, None for cable.
        user: who may log in, None to leave that to the image.
        config_lines: lines for ``config.txt`` that the profile's sensors need, such as ``dtparam=i2c_arm=on``.
    """

    device: str
    wifi: Wifi | None = None
    user: User | None = None
    config_lines: tuple[str, ...] = ()

    @property
    def hostname(self) -> str:
        """The device id as a host name: small letters, digits and '-' (RFC 1123)."""
        return re.sub(r"[^a-z0-9-]+", "-", checked_id(self.device).lower()).strip("-")[:63].rstrip("-") or "secateur"


def make_wifi(ssid: str, password: str, country: str) -> Wifi:
    """Check a network's name and password and derive its key, so that the password itself is not on the card.

    Args:
        ssid: at most 32 bytes.
        password: 8 to 63 characters, the key itself as 64 hexadecimal digits, or '' for an open network.
        country: two letters, ISO 3166.

    Raises:
        FlashError: if one is not possible.

    The key is that of IEEE 802.11i, annex H.4: PBKDF2 of the password with the name as salt. Whoever has it can join this
    network, but has not learnt the password.
    """
    name = ssid.encode("utf-8", "surrogateescape")  # 802.11 allows any bytes; which are no text are refused below
    if not 1 <= len(name) <= 32 or not ssid.isprintable():
        raise FlashError(f"--wifi {ssid!r}: the name of a network has 1 to 32 bytes and no control characters")
    if not _COUNTRY.fullmatch(country.upper()):
        raise FlashError(
            "--wifi needs --wifi-country, two letters such as DE or US: boards keep Wi-Fi off until they know it"
        )
    password = password.rstrip("\r\n")
    if not password:
        return Wifi(ssid, "", country.upper())
    if _RAW_KEY.fullmatch(password):
        return Wifi(ssid, password.lower(), country.upper())
    if not 8 <= len(password) <= 63 or not (password.isascii() and password.isprintable()):
        raise FlashError(
            f"--wifi {ssid}: a password has 8 to 63 printable ASCII characters (or is the key: 64 hexadecimal digits)"
        )
    key = hashlib.pbkdf2_hmac("sha1", password.encode(), name, 4096, 32)
    return Wifi(ssid, key.hex(), country.upper())


def make_user(name: str, authorized_keys: Path | None, password_hash: str) -> User:
    """Check a login.

    Args:
        name: of the user.
        authorized_keys: file with public keys, one a line, as ``~/.ssh/id_ed25519.pub``; None for none.
        password_hash: as ``openssl passwd -6`` or ``mkpasswd`` prints it; '' for none.

    Raises:
        FlashError: if the name is not possible, a key is not a public key, the hash is a password in clear, or nothing would
            let the user in.
    """
    if not _USER.fullmatch(name) or name in _RESERVED:
        raise FlashError(
            f"--user {name!r}: use small letters, digits, '-' and '_', starting with a letter, and no system user"
        )
    keys: list[str] = []
    if authorized_keys is not None:
        try:
            lines = authorized_keys.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise FlashError(f"--authorized-keys {authorized_keys}: cannot be read: {error}") from None
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            if "PRIVATE KEY" in line:
                raise FlashError(f"--authorized-keys {authorized_keys}: a private key; name the file that ends with .pub")
            if not _KEY.fullmatch(line.strip()) or not line.isprintable():
                raise FlashError(f"--authorized-keys {authorized_keys}: line {number} is not a public SSH key")
            keys.append(line.strip())
        if not keys:
            raise FlashError(f"--authorized-keys {authorized_keys}: there is no key in it")
    password_hash = password_hash.strip()
    if password_hash and not _HASH.fullmatch(password_hash):
        raise FlashError("the password must be a hash, as 'openssl passwd -6' prints it: a password in clear is not written")
    if not keys and not password_hash:
        raise FlashError(f"--user {name}: give --authorized-keys FILE or --password-hash-file FILE, or nobody can log in")
    return User(name, tuple(keys), password_hash)
