"""What the device does with its token and with the host's answers. The link is simulated: it records what it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secateur.bundle.keys import create_keys
from secateur_agent import enrolment_record
from secateur_agent.clock import WallClock
from secateur_agent.enrolment import FIRST_WAIT_S, LONGEST_WAIT_S, Enrolment
from secateur_agent.enrolment_record import describe, read_record
from secateur_agent.offline import NoBroker
from secateur_agent.protocol.enrolment import answer_id, check_proof, encode_token, public_token_key
from secateur_agent.protocol.envelope import keyid
from secateur_agent.protocol.messages import Answer, Birth
from secateur_agent.startup import Setup, prepare
from secateur_agent.store import StoreError

TOKEN, NEXT_TOKEN = bytes(range(32)), bytes(32)
DONE, REFUSED = Answer(status="done"), Answer(status="refused", text="its token was used before")


class SimulatedLink(NoBroker):
    def __init__(self) -> None:
        self.did: list[str] = []

    def start(self) -> None:
        self.did.append("start")

    def stop(self, state: str = "disconnected") -> None:
        self.did.append("stop")

    def publish(self, topic: str, payload: bytes, **_: Any) -> bool:
        self.did.append(f"{'clear' if not payload else 'publish'} {topic.rpartition('/')[2]}")
        return True


class Board:
    """A device whose agent can be started again; wall and monotonic time are the test's."""

    def __init__(self, folder: Path) -> None:
        keys = create_keys(folder / "keys")
        self.token_file = folder / "etc" / "enrolment-token"
        self.token_file.parent.mkdir()
        self.write(TOKEN)
        self.config = folder / "agent.toml"
        lines = {
            "device": "pi",
            "profile": "linux-x86-64",
            "broker": "mqtt://127.0.0.1",
            "state_dir": "state",
            "trust_root": str(keys.root_path),
            "enrolment_token_file": str(self.token_file),
        }
        self.config.write_text("".join(f'{key} = "{value}"\n' for key, value in lines.items()))
        self.now_s = 1_800_000_000.0
        self.told: list[tuple[str, str]] = []
        self.introduced = 0
        self.setup: Setup | None = None
        self.start()

    def write(self, token: bytes) -> None:
        self.token_file.write_text(encode_token(token) + "\n")

    def start(self) -> None:
        self.stop()
        self.setup = prepare(self.config)
        object.__setattr__(
            self.setup, "clock", WallClock(self.setup.state_path / "clock", lambda: self.now_s, lambda: self.now_s)
        )
        self.link = SimulatedLink()
        self.enrolment = Enrolment(
            self.setup,
            "boot1",
            self.link,
            lambda kind, text: self.told.append((kind, text)),
            self._introduce,
            mono=lambda: self.now_s,
            jitter=lambda: 1.0,
        )
        self.enrolment.begin()

    def stop(self) -> None:
        if self.setup is not None:
            self.setup.clock.keep(force=True)
            self.setup.release()
            self.setup = None

    def _introduce(self) -> None:
        self.introduced += 1

    @property
    def keyid(self) -> str:
        assert self.setup is not None
        return keyid(bytes(self.setup.key.verify_key))

    def birth(self) -> Birth:
        assert self.setup is not None
        public = self.setup.public_key
        birth = Birth(device="pi", boot="boot1", agent_version="1", profile="p", trust_root_version=1, public_key=public)
        return self.enrolment.birth(birth)

    def answer(self, answer: Answer, key: str = "") -> None:
        assert self.enrolment.answer(answer_id(key or self.keyid), answer)
        self.enrolment.tick()

    def status(self) -> tuple[str, str]:
        assert self.setup is not None
        return describe(self.setup.config)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    made = Board(tmp_path)
    yield made
    made.stop()


def proven(birth: Birth) -> str:
    return check_proof(birth.enrolment, birth.device, birth.public_key)


def test_the_birth_proves_the_token_until_the_host_has_answered_then_the_file_is_gone(board: Board) -> None:
    assert board.link.did == ["start"]
    assert board.status() == ("waiting", "for the host to answer the token")
    for _ in range(2):  # after each connection
        assert proven(board.birth()) == public_token_key(TOKEN)
    board.answer(DONE)
    assert not board.token_file.exists()
    assert board.birth().enrolment == ""
    assert [kind for kind, _ in board.told] == ["install"]
    assert board.introduced == 1
    assert board.status()[0] == "enrolled"
    board.answer(DONE)
    assert (len(board.told), board.introduced) == (1, 1), "an answer that comes twice is one event"
    board.start()
    assert board.link.did == ["start"]
    assert board.status()[0] == "enrolled"


def test_an_answer_for_another_key_is_ignored(board: Board) -> None:
    for answer in (DONE, REFUSED):
        board.answer(answer, "0" * 16)
    assert board.token_file.exists()
    assert board.link.did == ["start"]
    assert not board.enrolment.answer("7be1f0a2c9d4-3", DONE), "the answer to an ask is not for it"


def test_a_refused_device_leaves_nothing_at_the_broker_and_stays_away_longer_each_time(board: Board) -> None:
    expected_s = FIRST_WAIT_S
    for round_ in range(7):
        board.birth()
        board.link.did.clear()
        board.answer(REFUSED)
        assert board.link.did == ["clear birth", "clear shadow", "stop"]
        assert board.told[-1][0] == "fault"
        assert "its token was used before" in board.told[-1][1]
        assert board.status()[0] == "refused"
        board.now_s += expected_s - 1
        board.enrolment.tick()
        assert board.link.did[-1] == "stop", f"it came back too early, in round {round_}"
        board.now_s += 2
        board.enrolment.tick()
        assert board.link.did[-1] == "start"
        expected_s = min(2 * expected_s, LONGEST_WAIT_S)
    assert expected_s == LONGEST_WAIT_S


def test_it_acknowledges_the_refusal_before_it_disconnects(board: Board) -> None:
    """Else the broker keeps it for the session, and it would be heard again at the next attempt."""
    assert board.enrolment.answer(answer_id(board.keyid), REFUSED)
    assert "stop" not in board.link.did
    board.enrolment.tick()
    assert board.link.did[-1] == "stop"


def test_a_restart_does_not_end_the_wait_but_a_new_token_does(board: Board) -> None:
    """A card that was copied is switched off and on, too."""
    board.answer(REFUSED)
    board.start()
    assert board.link.did == []
    board.write(NEXT_TOKEN)
    board.start()
    assert board.link.did == ["start"]
    assert proven(board.birth()) == public_token_key(NEXT_TOKEN)
    assert board.status()[0] == "waiting"


def test_a_clock_that_went_back_does_not_prolong_the_wait(board: Board) -> None:
    board.answer(REFUSED)
    board.stop()
    (board.config.parent / "state" / "clock").unlink()
    board.now_s -= 400 * 86_400
    board.start()
    assert board.link.did == []
    board.now_s += FIRST_WAIT_S + 1
    board.enrolment.tick()
    assert board.link.did == ["start"]


def test_another_device_key_is_not_refused_for_what_the_one_before_did(board: Board) -> None:
    board.answer(REFUSED)
    board.stop()
    (board.config.parent / "state" / "device.key").unlink()
    board.start()
    assert board.link.did == ["start"]


def test_a_refused_device_that_the_host_takes_after_all_is_enrolled(board: Board) -> None:
    board.token_file.unlink()
    board.answer(REFUSED)
    board.now_s += FIRST_WAIT_S + 1
    board.enrolment.tick()
    board.enrolment.acknowledged("another-boot")
    assert board.status()[0] == "refused"
    board.enrolment.acknowledged("boot1")
    assert board.status()[0] == "enrolled"
    board.answer(REFUSED)
    board.now_s += FIRST_WAIT_S + 1  # the count began anew
    board.enrolment.tick()
    assert board.link.did[-1] == "start"


def test_a_power_cut_between_the_record_and_the_removal_is_made_good_at_the_next_start(board: Board) -> None:
    board.birth()
    board.answer(DONE)
    board.write(TOKEN)  # as a file system without a journal might have it
    board.start()
    assert not board.token_file.exists()
    assert board.birth().enrolment == ""


def test_a_token_that_it_may_not_remove_is_told_and_not_proved_again(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise enrolment_record.TokenFileError(f"enrolment_token_file {path}: cannot be removed: Read-only file system")

    monkeypatch.setattr("secateur_agent.enrolment.remove_token", refuse)
    board.birth()
    board.answer(DONE)
    assert ("fault", f"enrolment_token_file {board.token_file}: cannot be removed: Read-only file system") in board.told
    assert board.token_file.exists()
    assert board.birth().enrolment == ""
    assert board.status()[0] == "enrolled"


def test_a_full_disk_keeps_the_answer_unacknowledged(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(state: Path, record: object) -> None:
        raise StoreError("cannot write: No space left on device")

    monkeypatch.setattr("secateur_agent.enrolment.write_record", full)
    board.birth()
    for answer in (DONE, REFUSED):
        with pytest.raises(StoreError):
            board.enrolment.answer(answer_id(board.keyid), answer)
    assert board.token_file.exists()
    assert not board.enrolment.away


def test_a_token_file_that_is_damaged_is_told_and_the_device_goes_on_without(board: Board) -> None:
    board.token_file.write_bytes(b"\0" * 44)
    assert board.birth().enrolment == ""
    assert board.told[-1][0] == "fault"
    assert "flash the device again" in board.told[-1][1]
    assert "not a token" in board.status()[1]


def test_what_is_remembered_is_readable_by_its_owner_alone_and_holds_no_token(board: Board) -> None:
    board.birth()
    board.answer(DONE)
    path = board.config.parent / "state" / "enrolment.json"
    assert path.stat().st_mode & 0o077 == 0
    text = path.read_text()
    assert json.loads(text)["status"] == "enrolled"
    assert encode_token(TOKEN) not in text
    assert read_record(path.parent).keyid == board.keyid
