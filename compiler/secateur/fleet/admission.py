"""Who belongs to the fleet: each birth is admitted or refused; of a device that is not enrolled nothing else is taken."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, cast

from sqlalchemy import Connection

from secateur.fleet.devices import DeviceStore
from secateur.fleet.enrolment import Enrolment, find_token, tokens_of, use_token
from secateur_agent.protocol.enrolment import answer_id, check_proof
from secateur_agent.protocol.envelope import keyid_of
from secateur_agent.protocol.messages import Answer, Birth, MessageError

Policy = Literal["open", "token"]
_MOST_REMEMBERED = 10_000
_PATIENCE_S = 5.0
"""What a device says just before it is enrolled is nothing to tell of."""


class PolicyError(ValueError):
    """A policy of enrolment that there is not."""


def choose_policy(text: str, broker_host: str, tls: bool) -> Policy:
    """Return the policy that was asked for; if none was: ``open`` for a broker on loopback without TLS, else ``token``.

    A broker with TLS serves other machines, also if this one reaches it as ``localhost``.

    Raises:
        PolicyError: if it is neither ``open`` nor ``token``.
    """
    if text in ("open", "token"):
        return cast(Policy, text)
    if text:
        raise PolicyError(f"--enrolment {text!r}: expected 'open' or 'token'")
    if tls:
        return "token"
    try:
        return "open" if ipaddress.ip_address(broker_host).is_loopback else "token"
    except ValueError:
        return "open" if broker_host == "localhost" else "token"


class Verdict(NamedTuple):
    """What becomes of a birth. ``happened`` is for the record, '' if nothing changed; ``answer`` is for the device."""

    accepted: bool
    happened: str = ""
    answer: Answer | None = None
    ask_id: str = ""


class Admission:
    """Decides for all devices of one host.

    Args:
        devices: what is known of each.
        policy: ``open`` trusts the first key of an id that no token was made for; ``token`` trusts nobody without one.
        now: the clock for the lifetime of tokens.

    Attributes:
        dropped: messages that were not taken because their device is not enrolled or was refused.
    """

    def __init__(self, devices: DeviceStore, policy: Policy = "open", now: Callable[[], float] = time.time) -> None:
        self._devices = devices
        self._now = now
        self.policy = policy
        self.dropped = 0
        self._accepted_boots: dict[str, str] = {}
        self._refused_boots: dict[str, str] = {}
        self._dropped_s: dict[str, float] = {}

    def admit(self, connection: Connection, birth: Birth) -> Verdict:
        """Decide on a birth, whose own signature was verified; if it is accepted, its key is on record afterwards."""
        verdict = self._decide(connection, birth)
        for remembered in (self._accepted_boots, self._refused_boots):
            if len(remembered) >= _MOST_REMEMBERED:
                remembered.clear()
        if verdict.accepted:
            self._dropped_s.pop(birth.device, None)
            self._accepted_boots[birth.device] = birth.boot
            if self._refused_boots.get(birth.device) == birth.boot:
                del self._refused_boots[birth.device]
        elif self._accepted_boots.get(birth.device) != birth.boot:
            self._refused_boots[birth.device] = birth.boot
        return verdict

    def strangers(self, devices: Iterable[str]) -> set[str]:
        """Return those of the devices of which nothing is taken: by this policy they are not enrolled.

        Raises:
            secateur.fleet.store.StoreError: if the database cannot be read.
        """
        asked = set(devices)
        return asked - self._devices.enrolled(asked) if self.policy == "token" and asked else set()

    def is_refused(self, device: str, boot: str) -> bool:
        """Return whether a boot's birth was refused: what it says must not pass for the true device's."""
        return bool(boot) and self._refused_boots.get(device) == boot

    def untold(self, device: str) -> bool:
        """Return, once for each device until it is enrolled, that its messages go on being dropped and nobody was told."""
        if device not in self._dropped_s and len(self._dropped_s) >= _MOST_REMEMBERED:
            return False
        since_s = self._now() - self._dropped_s.setdefault(device, self._now())
        if since_s < _PATIENCE_S:
            return False
        self._dropped_s[device] = float("inf")
        return True

    def _decide(self, connection: Connection, birth: Birth) -> Verdict:
        key = keyid_of(birth.public_key)
        known = self._devices.hold(connection, birth.device)
        mine = known == birth.public_key
        if birth.enrolment:
            token, wrong = self._token(connection, birth, key)
            if token is not None:
                now_s = self._now()
                use_token(connection, token, key, now_s)
                text = f"enrolled by its token, with key {key}"
                if known is not None and not mine:
                    text += f"; the key before, {keyid_of(known)}, counts no longer"
                return Verdict(True, text, Answer(status="done", text=text), answer_id(key))
            if mine:  # also if its token is unknown meanwhile: a key that is enrolled needs none
                return Verdict(True, "", Answer(status="done", text="enrolled already"), answer_id(key))
            return _refusal(wrong, key)
        if mine:
            return Verdict(True)
        if known is not None:
            return _refusal(
                "it is signed with another key than this device used before; "
                "two devices may have the same id, or somebody poses as it",
                key,
            )
        if any(each.revoked_s is None for each in tokens_of(connection, birth.device)):
            return _refusal("a token was made for this id, and it proves none", key)
        if self.policy == "token":
            return _refusal("this host enrols devices by token, and it has none; flash it", key)
        return Verdict(True)

    def _token(self, connection: Connection, birth: Birth, key: str) -> tuple[Enrolment | None, str]:
        """Return the token that a birth proves if it may be used, else why not."""
        try:
            token = find_token(connection, check_proof(birth.enrolment, birth.device, birth.public_key))
        except MessageError as error:
            return None, str(error)
        if token is None:
            return (
                None,
                "its token is not known here: it was made on another host, or the device was forgotten; flash it again",
            )
        if token.device != birth.device:
            return None, f"its token was made for device {token.device}"
        status = token.status(self._now())
        if status == "unused":
            return token, ""
        if status == "used" and token.used_key == key:
            return None, "this device was enrolled anew since, with another key"
        if status == "used":
            return None, f"its token was used before, by key {token.used_key}; its card may have been copied"
        return None, f"its token {'has expired' if status == 'expired' else 'was revoked'}; flash it again"


def _refusal(reason: str, key: str) -> Verdict:
    return Verdict(False, f"birth with key {key} refused: {reason}", Answer(status="refused", text=reason), answer_id(key))
