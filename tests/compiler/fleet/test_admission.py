"""Which births are admitted, and what is taken of a device whose birth was not."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from secateur.bundle.keys import create_keys
from secateur.fleet.admission import Admission, Policy, PolicyError, choose_policy
from secateur.fleet.commands import Commands
from secateur.fleet.devices import DeviceStore
from secateur.fleet.enrolment import Enrolments, end_tokens
from secateur.fleet.ingest import Ingest, Outcome
from secateur.fleet.samples import SampleStore
from secateur.fleet.store import Store, StoreError
from secateur_agent.protocol import topics
from secateur_agent.protocol.enrolment import decode_token, make_proof
from secateur_agent.protocol.envelope import keyid, seal
from secateur_agent.protocol.messages import Birth, Event, Reported, Sample, State, Telemetry, encode

FIRST, SECOND, THIRD = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3))


def public(key: SigningKey) -> str:
    return base64.b64encode(bytes(key.verify_key)).decode()


def birth(key: SigningKey, token: str = "", device: str = "pi", boot: str = "", proof: str = "") -> Birth:
    if token:
        proof = make_proof(decode_token(token.encode()), device, public(key))
    return Birth(
        device=device,
        boot=boot or f"boot-{key.verify_key.encode().hex()[:6]}",
        agent_version="1",
        profile="p",
        trust_root_version=1,
        public_key=public(key),
        enrolment=proof,
    )


class Host:
    """The way in, on a real database, with a clock in the test's hands."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "f.sqlite")
        self.devices = DeviceStore(self.store)
        self.enrolments = Enrolments(self.store)
        self.samples = SampleStore(self.store)
        self.commands = Commands(self.store, create_keys(folder / "keys"), lambda *a, **k: True)
        self.ahead_s = 0.0
        self.start("token")

    def revoke(self, device: str) -> None:
        """End what tokens of it were not used, as a newer one does."""
        with self.store.write() as connection:
            end_tokens(connection, device, time.time())

    def start(self, policy: Policy) -> None:
        """Begin anew, as after a restart of the controller."""
        admission = Admission(self.devices, policy, lambda: time.time() + self.ahead_s)
        self.ingest = Ingest(self.store, self.devices, self.samples, self.commands, admission)

    def take(self, *messages: Any, device: str = "pi", key: SigningKey = FIRST) -> Outcome:
        """Take messages in one batch."""
        names = {Birth: "birth", State: "state", Reported: "shadow", Telemetry: "telemetry", Event: "event"}
        for message in messages:
            payload = seal("device", message, key) if isinstance(message, Birth) else encode(message)
            self.ingest.receive(topics.up(device, names[type(message)]), payload)
        return self.ingest.process()

    def born(self, key: SigningKey, token: str = "", **options: Any) -> tuple[str, str]:
        """Take a birth; return status and text of the answer, '' for none."""
        outcome = self.take(birth(key, token, **options), device=options.get("device", "pi"), key=key)
        if not outcome.answers:
            return "", ""
        ((device, ask_id, answer),) = outcome.answers
        assert device == options.get("device", "pi")
        assert ask_id == f"enrol-{keyid(bytes(key.verify_key))}"
        return answer.status, answer.text

    def key(self, device: str = "pi") -> str:
        return self.devices.get(device).public_key if device in self.devices.names() else ""

    def events(self, device: str = "pi") -> list[str]:
        return [event["text"] for event in self.devices.events(device)]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.store.close()


def test_a_token_enrols_the_first_key_that_proves_it_and_the_answer_comes_with_each_birth(host: Host) -> None:
    token = host.enrolments.create("pi")
    assert host.born(FIRST, token)[0] == "done"
    assert host.key() == public(FIRST)
    (row,) = host.enrolments.of("pi")
    assert row.used_key == keyid(bytes(FIRST.verify_key))
    assert row.used_s == pytest.approx(time.time(), abs=60)
    assert host.born(FIRST, token) == ("done", "enrolled already")
    host.start("token")
    assert host.born(FIRST, token)[0] == "done", "it did not hear the answer before the host was restarted"
    assert host.born(FIRST) == ("", "")
    assert len(host.events()) == 1


def test_a_used_token_enrols_no_second_key(host: Host) -> None:
    """A card that was copied before its first start: each board makes a key of its own."""
    token = host.enrolments.create("pi")
    host.born(FIRST, token)
    status, text = host.born(SECOND, token)
    assert status == "refused"
    assert f"its token was used before, by key {keyid(bytes(FIRST.verify_key))}" in text
    assert host.key() == public(FIRST)
    assert any("its token was used before" in each for each in host.events())


def test_an_old_proof_of_the_true_device_is_worth_nothing_for_another_key(host: Host) -> None:
    """The birth is retained at the broker, and anybody may have read it."""
    token = host.enrolments.create("pi")
    seen = birth(FIRST, token).enrolment
    assert "the proof is wrong" in host.born(SECOND, proof=seen)[1], "before the true device was there"
    host.born(FIRST, token)
    assert host.born(SECOND, proof=seen)[0] == "refused"
    assert host.key() == public(FIRST)


def test_wrong_proofs_are_refused_and_reported(host: Host) -> None:
    host.enrolments.create("pi")
    other = host.enrolments.create("phone")
    elsewhere = "A" * 43
    assert "was made for device phone" in host.born(FIRST, other)[1]
    assert "is not known here" in host.born(FIRST, elsewhere)[1]
    assert "96 bytes in base64" in host.born(FIRST, proof="AAAA")[1]
    assert "proves none" in host.born(FIRST)[1]
    assert host.key() == ""
    assert "was made for device phone" in host.events()[0]
    assert len(host.events()) == 1, "one event in ten seconds: the database must not fill"
    assert host.ingest.refused == 4


def test_expired_and_revoked_tokens_are_refused(host: Host) -> None:
    token = host.enrolments.create("pi", lifetime_s=100)
    host.ahead_s = 101
    assert "its token has expired" in host.born(FIRST, token)[1]
    host.ahead_s = 0
    host.revoke("pi")
    assert "its token was revoked" in host.born(FIRST, token)[1]
    assert host.key() == ""


def test_a_device_that_is_flashed_again_keeps_its_key_until_the_new_token_is_used(host: Host) -> None:
    host.born(FIRST, host.enrolments.create("pi"))
    token = host.enrolments.create("pi")
    assert host.born(FIRST) == ("", "")
    assert host.take(State(state="ready", boot="boot-x")).states == [("pi", "ready")]
    assert host.born(SECOND, token)[0] == "done"
    assert host.key() == public(SECOND)
    assert f"the key before, {keyid(bytes(FIRST.verify_key))}, counts no longer" in host.events()[-1]
    assert "signed with another key" in host.born(FIRST)[1]


def test_the_device_of_before_cannot_come_back_with_its_old_token(host: Host) -> None:
    first = host.enrolments.create("pi")
    host.born(FIRST, first)
    host.born(SECOND, host.enrolments.create("pi"))
    assert "enrolled anew since" in host.born(FIRST, first)[1]
    assert host.key() == public(SECOND)


def test_a_card_that_was_never_started_ends_when_a_newer_one_is(host: Host) -> None:
    older, newer = host.enrolments.create("pi"), host.enrolments.create("pi")
    host.born(SECOND, newer)
    assert "its token was revoked" in host.born(FIRST, older)[1]


def test_a_device_that_got_a_new_token_with_the_key_it_had_stays_itself(host: Host) -> None:
    """``flash ssh`` upgrades in place and keeps the state folder."""
    host.born(FIRST, host.enrolments.create("pi"))
    token = host.enrolments.create("pi")
    assert host.born(FIRST, token)[0] == "done"
    assert [each.status(time.time()) for each in host.enrolments.of("pi")] == ["used", "used"]
    assert host.key() == public(FIRST)


def test_an_enrolled_key_is_accepted_whatever_token_lies_about(host: Host) -> None:
    host.born(FIRST, host.enrolments.create("pi"))
    assert host.born(FIRST, "A" * 43)[0] == "done"
    assert host.born(FIRST, proof="nonsense")[0] == "done"


def test_an_open_host_trusts_on_first_use_but_not_an_id_that_a_token_was_made_for(host: Host) -> None:
    host.start("open")
    assert host.born(FIRST, device="phone") == ("", "")
    assert host.key("phone") == public(FIRST)
    assert "signed with another key" in host.born(SECOND, device="phone")[1]
    host.enrolments.create("pi")
    assert host.born(FIRST)[0] == "refused"
    assert host.key() == ""
    host.revoke("pi")
    assert host.born(FIRST) == ("", "")
    assert host.key() == public(FIRST)


def test_a_forgotten_device_is_enrolled_again_by_another_process(host: Host) -> None:
    token = host.enrolments.create("pi")
    host.born(FIRST, token)
    other = Store(host.store._path)
    Enrolments(other).forget("pi")
    other.close()
    assert "is not known here" in host.born(FIRST, token)[1]
    assert host.take(State(state="ready", boot="boot-x")).states == []
    assert host.born(SECOND, host.enrolments.create("pi"))[0] == "done"


def samples(boot: str) -> Telemetry:
    return Telemetry(boot=boot, first_held=1, samples=(Sample(seq=1, mono_s=0.0, wall_s=0.0),))


def everything(boot: str) -> list[Any]:
    return [
        State(state="ready", boot=boot),
        Reported(version=1, boot=boot),
        samples(boot),
        Event(boot=boot, kind="fault", wall_s=1.0, text="what a stranger says"),
    ]


def test_nothing_of_a_device_without_a_key_is_taken_and_that_is_told_once(host: Host) -> None:
    for _ in range(3):
        outcome = host.take(*everything("boot-x"))
        assert (outcome.acknowledged, outcome.states, outcome.reported) == ([], [], [])
    assert host.devices.names() == []
    assert host.ingest.admission.dropped == 12
    host.ahead_s = 10  # not at once: before its birth is admitted every device is a stranger
    for _ in range(3):
        host.take(*everything("boot-x"))
    (event,) = host.events()
    assert "not enrolled" in event
    assert host.devices.get("pi").reported is None


def test_what_comes_together_with_the_first_birth_is_taken_in_any_order(host: Host) -> None:
    """A broker gives retained messages in the order it likes."""
    token = host.enrolments.create("pi")
    outcome = host.take(*everything("boot-x"), birth(FIRST, token, boot="boot-x"))
    assert outcome.states == [("pi", "ready")]
    assert [ack.seq for ack in outcome.acknowledged] == [1]
    assert "what a stranger says" in host.events()
    assert host.ingest.admission.dropped == 0


@pytest.mark.parametrize("policy", ["open", "token"])
def test_what_a_refused_copy_says_does_not_pass_for_the_true_device(host: Host, policy: Policy) -> None:
    host.start(policy)
    host.born(FIRST, host.enrolments.create("pi"))
    host.take(*everything("boot-true"))
    host.take(birth(SECOND, boot="boot-copy"), key=SECOND)
    outcome = host.take(
        State(state="disconnected", boot="boot-copy"), samples("boot-copy"), Reported(version=9, boot="boot-copy")
    )
    assert (outcome.states, outcome.acknowledged, outcome.reported) == ([], [], [])
    known = host.devices.get("pi")
    assert (known.state, known.reported and known.reported.version) == ("ready", 1)
    outcome = host.take(samples("boot-later"), State(state="ready", boot="boot-later"))
    assert outcome.states == [("pi", "ready")]


def test_a_stranger_cannot_silence_the_true_device_by_naming_its_boot(host: Host) -> None:
    token = host.enrolments.create("pi")
    host.born(FIRST, token, boot="boot-true")
    assert host.born(SECOND, boot="boot-true")[0] == "refused"
    assert host.take(State(state="ready", boot="boot-true")).states == [("pi", "ready")]


def test_a_birth_waits_while_the_database_refuses_and_is_decided_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    token = host.enrolments.create("pi")
    write = host.store.write

    def refuse() -> Any:
        raise StoreError("disk full")

    monkeypatch.setattr(host.store, "write", refuse)
    with pytest.raises(StoreError):
        host.born(FIRST, token)
    monkeypatch.setattr(host.store, "write", write)
    ((_, _, answer),) = host.ingest.process().answers
    assert answer.status == "done"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(proof=st.text(max_size=2000), device=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True))
def test_no_text_is_a_proof(host: Host, proof: str, device: str) -> None:
    status, text = host.born(FIRST, proof=proof, device=device)
    assert (status, "\n" in text) == ("refused", False)
    assert host.key(device) == ""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("0123"), st.sampled_from([FIRST, SECOND, THIRD]), st.booleans()), max_size=12))
def test_whatever_happens_each_token_enrols_at_most_one_key_and_only_the_newest_counts(
    host: Host, steps: list[tuple[str, SigningKey, bool]]
) -> None:
    """Tokens are made, proved by any key in any order, or not proved at all."""
    device = f"d-{time.monotonic_ns()}"
    made: list[str] = []
    for action, key, with_token in steps:
        before = host.key(device)
        if action == "0" or not made:
            made.append(host.enrolments.create(device))
            assert host.key(device) == before, "making a token changed something"
            continue
        token = made[int(action) % len(made)] if with_token else ""
        status, _ = host.born(key, token, device=device)
        rows = {each.token_key: each for each in host.enrolments.of(device)}
        assert host.key(device) in (before, public(key))
        if host.key(device) != before:
            assert status == "done"
        if status == "refused":
            assert host.key(device) == before
        used = [each for each in rows.values() if each.used_s is not None]
        if host.key(device):
            newest = max(used, key=lambda each: each.used_s or 0)
            assert newest.used_key == keyid(base64.b64decode(host.key(device)))
        else:
            assert not used


def test_only_a_broker_on_loopback_without_tls_is_open_by_itself() -> None:
    here, elsewhere = ("127.0.0.1", "::1", "localhost"), ("10.0.0.1", "broker.local", "127.0.0.1.example")
    for name in (*here, *elsewhere):
        assert choose_policy("", name, tls=False) == ("open" if name in here else "token")
        assert choose_policy("", name, tls=True) == "token", "others reach it under another name"
        assert choose_policy("open", name, tls=True) == "open"
        assert choose_policy("token", name, tls=False) == "token"
    with pytest.raises(PolicyError, match="expected 'open' or 'token'"):
        choose_policy("closed", "127.0.0.1", tls=False)
