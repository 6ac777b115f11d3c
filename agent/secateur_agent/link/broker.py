"""The address of an MQTT broker, as a person writes it: ``mqtt://user@host:1883`` or ``mqtts://host``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9_.-]+)?")


class BrokerAddressError(ValueError):
    """A broker's address is malformed."""


@dataclass(frozen=True)
class BrokerAddress:
    """Where the broker is. ``tls`` is True for ``mqtts``; passwords and certificates are never part of an address."""

    host: str
    port: int = 1883
    tls: bool = False
    username: str | None = None

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """Parse an address.

        Args:
            url: ``mqtt[s]://[user@]host[:port]``; the port is 1883, or 8883 with TLS, if it is left out.

        Raises:
            BrokerAddressError: if it is something else.
        """
        example = "write it as mqtt://host:1883, mqtts://host:8883 or mqtt://user@host:1883"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise BrokerAddressError(f"broker {_without_password(url)!r}: {error}; {example}") from None
        if parts.password is not None:
            raise BrokerAddressError(
                f"broker {_without_password(url)!r}: has a password; put it into a file and name that as password_file"
            )
        extra = parts.path.rstrip("/") or parts.query or parts.fragment
        if parts.scheme not in _PORTS or extra or not _HOST.fullmatch(host) or len(host) > 253 or port == 0:
            raise BrokerAddressError(f"broker {url!r}: not an address; {example}")
        return cls(host, port or _PORTS[parts.scheme], parts.scheme == "mqtts", unquote(parts.username or "") or None)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def _without_password(url: str) -> str:
    return re.sub(r":[^:/@]*@", ":…@", url)
