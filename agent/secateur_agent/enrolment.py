"""Enrolment of this device: its birth proves the one-time token, and the host's answer is acted upon.

A device that the host refuses leaves the broker for an hour, then for longer: names at a broker are unique, so a cloned card
would throw the true device out with every attempt. It serves inference meanwhile.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from msgspec.structs import replace

from secateur_agent.enrolment_record import (
    Record,
    TokenFileError,
    read_record,
    read_token,
    remove_token,
    write_record,
)
from secateur_agent.offline import AnyLink
from secateur_agent.protocol import topics
from secateur_agent.protocol.enrolment import answered_key, make_proof, public_token_key
from secateur_agent.protocol.envelope import keyid
from secateur_agent.protocol.messages import Answer, Birth
from secateur_agent.startup import Setup
from secateur_agent.store import StoreError

FIRST_WAIT_S = 3600.0
LONGEST_WAIT_S = 86_400.0

Announce = Callable[[str, str], object]


class Enrolment:
    """Starts the link, unless the host refused this device a short while ago.

    Args:
        setup: configuration, key and clock of the device.
        boot: the id of this start.
        link: the connection to the broker.
        announce: told kind and text of what happens.
        introduce: publishes birth, state and shadow again.
        mono: the monotonic clock.
        jitter: a factor on each wait, so that clones do not come back together.
    """

    def __init__(
        self,
        setup: Setup,
        boot: str,
        link: AnyLink,
        announce: Announce,
        introduce: Callable[[], object],
        mono: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2),
    ) -> None:
        self._setup = setup
        self._boot = boot
        self._link = link
        self._announce = announce
        self._introduce = introduce
        self._mono = mono
        self._jitter = jitter
        self._keyid = keyid(bytes(setup.key.verify_key))
        self._record = read_record(setup.state_path)
        if self._record.keyid not in ("", self._keyid):
            self._record = Record()  # of a key that is gone
        self._leaving_s: float | None = None
        self._away_until_s: float | None = None

    @property
    def away(self) -> bool:
        """Whether the device stays off the broker because it was refused."""
        return self._leaving_s is not None or self._away_until_s is not None

    def begin(self) -> None:
        """Connect, or go on waiting if the host refused this device and its token before the restart."""
        record = self._record
        if record.status == "enrolled" and record.token and self._token() == record.token:
            self._remove_token()  # the power failed between the record and the removal
        left_s = min(record.until_s - self._setup.clock.now_s(), record.wait_s)
        if record.status == "refused" and left_s > 0 and self._token() in ("", record.token):
            self._stay_away(left_s)
            return
        self._link.start()

    def tick(self) -> None:
        """Leave the broker once the refusal is acknowledged there; connect again when the wait is over."""
        if self._leaving_s is not None:
            wait_s, self._leaving_s = self._leaving_s, None
            self._leave()
            self._stay_away(wait_s)
        if self._away_until_s is not None and self._mono() >= self._away_until_s:
            self._away_until_s = None
            self._link.start()

    def birth(self, birth: Birth) -> Birth:
        """Return the birth with the proof of the token, if there is one that the host has not answered yet."""
        token = self._read()
        if token is None:
            return birth
        name = public_token_key(token)
        if self._record.status == "enrolled" and self._record.token == name:
            return birth
        if self._record.token != name:
            self._keep(Record(status="waiting", keyid=self._keyid, token=name, wall_s=self._setup.clock.now_s()))
        return replace(birth, enrolment=make_proof(token, birth.device, birth.public_key))

    def answer(self, ask_id: str, answer: Answer) -> bool:
        """Act on an answer of the host.

        Returns:
            False if it is the answer to something else.

        Raises:
            secateur_agent.store.StoreError: if it cannot be kept; then it must not be acknowledged.
        """
        key = answered_key(ask_id)
        if key is None:
            return False
        if key != self._keyid or self.away:
            return True  # for another device of this id, or come late
        if answer.status == "done":
            self._enrolled()
        elif answer.status == "refused":
            self._refused(answer.text)
        return True

    def acknowledged(self, boot: str) -> None:
        """The host stores samples of this boot, so it refuses the device no longer.

        Raises:
            secateur_agent.store.StoreError: if that cannot be kept.
        """
        if boot == self._boot and self._record.status == "refused":
            self._enrolled()

    def _enrolled(self) -> None:
        record = self._record
        token = self._token()
        if record.status == "enrolled" and token in ("", record.token):
            return
        # What is on record first: a token that comes back after a power cut is then known as used.
        fresh = Record(status="enrolled", keyid=self._keyid, token=token or record.token, wall_s=self._setup.clock.now_s())
        write_record(self._setup.state_path, fresh)
        self._record = fresh
        if token:
            self._remove_token()
        self._announce("install", f"enrolled: the host knows this device by key {self._keyid}")
        self._introduce()  # what was said before the enrolment was not taken

    def _refused(self, text: str) -> None:
        refusals = min(self._record.refusals + 1, 10_000)
        wait_s = min(FIRST_WAIT_S * 2 ** min(refusals - 1, 16), LONGEST_WAIT_S) * self._jitter()
        now_s = self._setup.clock.now_s()
        fresh = Record(
            status="refused",
            keyid=self._keyid,
            token=self._token(),
            text=" ".join(text.split())[:500],
            wall_s=now_s,
            refusals=refusals,
            until_s=now_s + wait_s,
            wait_s=wait_s,
        )
        write_record(self._setup.state_path, fresh)
        self._record = fresh
        self._leaving_s = wait_s

    def _leave(self) -> None:
        # Nothing of this device's may stay at the broker in the name of the true one.
        for kind in ("birth", "shadow"):
            self._link.publish(topics.up(self._setup.config.device, kind), b"", retain=True)
        self._link.stop()

    def _stay_away(self, wait_s: float) -> None:
        self._away_until_s = self._mono() + wait_s
        self._announce(
            "fault",
            f"the host refused this device: {self._record.text or 'no reason given'}; "
            f"it stays off the broker for {wait_s / 60:.0f} min and serves on",
        )

    def _token(self) -> str:
        """The name of the token that is there, '' if none is."""
        token = self._read()
        return public_token_key(token) if token is not None else ""

    def _read(self) -> bytes | None:
        try:
            return read_token(self._setup.config.enrolment_token_file)
        except TokenFileError as error:
            self._announce("fault", str(error))
            return None

    def _remove_token(self) -> None:
        try:
            remove_token(self._setup.config.enrolment_token_file)
        except TokenFileError as error:
            self._announce("fault", str(error))

    def _keep(self, record: Record) -> None:
        """Keep what may be lost: without it, only `status` knows less."""
        self._record = record
        try:
            write_record(self._setup.state_path, record)
        except StoreError as error:
            self._announce("fault", str(error))
