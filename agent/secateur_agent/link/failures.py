"""Why a connection attempt failed, as one line for people; a certificate that the clock makes wrong is told as that."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable

from secateur_agent.clock_floor import utc
from secateur_agent.link.broker import BrokerAddress
from secateur_agent.link.events import Disconnected

# X509_V_ERR_… of OpenSSL's x509_vfy.h.
_NOT_YET_VALID, _EXPIRED = 9, 10


def connect_failure(
    error: BaseException | None, address: BrokerAddress, now: Callable[[], float] = time.time
) -> Disconnected:
    """Return what to tell of a failed attempt.

    Args:
        error: what was raised, None if that is not known.
        address: the broker.
        now: the clock that TLS compares certificates with, which is the system's.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == _NOT_YET_VALID:
            return Disconnected(
                f"{address}: its certificate is not yet valid: this board's clock says {utc(now())}. "
                "Set the clock; a board without a clock chip needs the network's time or a unit that sets it at boot",
                fault=True,
            )
        if error.verify_code == _EXPIRED:
            return Disconnected(
                f"{address}: its certificate has expired: this board's clock says {utc(now())}. "
                "Renew the certificate, unless the clock is wrong",
                fault=True,
            )
        return Disconnected(f"{address}: its certificate is refused: {error.verify_message.rstrip('.')}", fault=True)
    if isinstance(error, ssl.SSLError):
        return Disconnected(f"{address}: TLS failed: {error.reason or error}", fault=True)
    return Disconnected(f"cannot reach {address}; trying again")
