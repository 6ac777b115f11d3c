"""Tokens in the host's database, with a controller beside and without."""

from __future__ import annotations

import multiprocessing
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from secateur.fleet.devices import DeviceStore
from secateur.fleet.enrolment import (
    DEFAULT_LIFETIME_S,
    EnrolmentError,
    Enrolments,
    describe,
    end_tokens,
    open_enrolments,
    use_token,
)
from secateur.fleet.store import Store, StoreError
from secateur_agent.protocol.enrolment import decode_token, public_token_key
from secateur_agent.protocol.envelope import keyid


def test_a_token_is_made_for_a_device_and_kept_nowhere(store: Store, tmp_path: Path) -> None:
    enrolments = Enrolments(store)
    token = enrolments.create("pi", note="card 3\nof 20")
    (row,) = enrolments.of("pi")
    assert row.token_key == public_token_key(decode_token(token.encode()))
    assert row.expires_s == pytest.approx(time.time() + DEFAULT_LIFETIME_S, abs=60)
    assert (row.device, row.status(time.time()), row.used_key, row.note) == ("pi", "unused", "", "card 3 of 20")
    store.close()
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert token.encode() not in raw
    assert decode_token(token.encode()) not in raw


def test_what_a_stolen_copy_of_the_table_holds_proves_no_token(store: Store) -> None:
    """As a seed or as a token, the public half gives another key."""
    token = Enrolments(store).create("pi")
    (row,) = Enrolments(store).all()
    import base64

    stolen = base64.b64decode(row.token_key)
    assert public_token_key(stolen) != row.token_key
    assert base64.b64encode(bytes(SigningKey(stolen).verify_key)).decode() != row.token_key
    assert public_token_key(decode_token(token.encode())) == row.token_key


@pytest.mark.parametrize("device", ["", "a/b", "+", "#", "..", "x" * 65, "pi\n"])
def test_an_id_that_no_device_can_have_gets_no_token(store: Store, device: str) -> None:
    with pytest.raises(EnrolmentError):
        Enrolments(store).create(device)
    assert Enrolments(store).all() == []


def test_revoked_expired_and_used_tokens_say_so(store: Store) -> None:
    enrolments = Enrolments(store)
    enrolments.create("a")
    enrolments.create("b", lifetime_s=10)
    enrolments.create("c", lifetime_s=None)
    with store.write() as connection:
        assert end_tokens(connection, "a", time.time()) == 1
        assert end_tokens(connection, "a", time.time()) == 0
        use_token(connection, enrolments.of("c")[0], "0123456789abcdef", 7.0)
    later_s = time.time() + 20
    assert [each.status(later_s) for each in enrolments.all()] == ["revoked", "expired", "used"]
    assert (enrolments.of("c")[0].used_s, enrolments.of("c")[0].used_key) == (7.0, "0123456789abcdef")
    with store.write() as connection:
        assert end_tokens(connection, "c", later_s) == 0, "it was used"


def test_older_tokens_end_when_a_newer_one_is_used_and_newer_ones_do_not(store: Store) -> None:
    enrolments = Enrolments(store)
    for _ in range(3):
        enrolments.create("pi")
    enrolments.create("other")
    with store.write() as connection:
        use_token(connection, enrolments.of("pi")[1], "k", time.time())
    assert [each.status(time.time()) for each in enrolments.of("pi")] == ["revoked", "used", "unused"]
    assert enrolments.of("other")[0].status(time.time()) == "unused"


def test_a_forgotten_device_has_neither_key_nor_token_but_its_past(store: Store) -> None:
    enrolments, known = Enrolments(store), DeviceStore(store)
    enrolments.create("pi")
    with store.write() as connection:
        known.seen(connection, "pi", public_key="k")
    known.note("pi", "fault", "something happened")
    assert enrolments.forget("pi") == 1
    assert known.get("pi").public_key == ""
    assert enrolments.of("pi") == []
    assert len(known.events("pi")) == 1
    with pytest.raises(EnrolmentError, match="neither a key nor a token"):
        enrolments.forget("pi")
    enrolments.create("pi")


def test_how_a_device_stands_is_one_line(store: Store) -> None:
    import base64

    enrolments, now_s = Enrolments(store), time.time()
    key = bytes(SigningKey(bytes(32)).verify_key)
    public = base64.b64encode(key).decode()
    assert describe("", [], now_s) == "not enrolled"
    assert describe(public, [], now_s) == "its key was trusted on first use"
    enrolments.create("pi")
    assert describe("", enrolments.of("pi"), now_s) == "waits for its first start with its token"
    with store.write() as connection:
        use_token(connection, enrolments.of("pi")[0], keyid(key), 1.8e9)
    assert describe(public, enrolments.of("pi"), now_s) == "by its token on 2027-01-15 08:00:00 UTC"
    enrolments.create("pi")
    assert describe(public, enrolments.of("pi"), now_s).endswith("; a newer token will replace its key")
    with store.write() as connection:
        end_tokens(connection, "pi", now_s)
    assert describe("", enrolments.of("pi")[1:], now_s) == "not enrolled; its token is revoked"


def _make_many(state: Path, prefix: str, results: Any) -> None:
    try:
        with open_enrolments(state) as enrolments:
            for number in range(20):
                enrolments.create(f"{prefix}-{number}")
        results.put("")
    except Exception as error:
        results.put(f"{type(error).__name__}: {error}")


def test_several_processes_make_tokens_while_a_controller_writes(tmp_path: Path) -> None:
    """``secateur flash`` runs on the state folder of a controller that runs, several at a time."""
    state = tmp_path / "state"
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_make_many, args=(state, name, results)) for name in ("a", "b")]
    for each in processes:
        each.start()
    with open_enrolments(state):
        store = Store(state / "fleet.sqlite")
        known = DeviceStore(store)
        while any(each.is_alive() for each in processes):
            known.note("x", "fault", "the controller writes")
        store.close()
    assert [results.get(timeout=30) for _ in processes] == ["", ""]
    with open_enrolments(state) as enrolments:
        assert len(enrolments.all()) == 40


def test_a_database_of_before_gets_the_table(tmp_path: Path) -> None:
    with open_enrolments(tmp_path) as enrolments:
        enrolments.create("pi")
    with sqlite3.connect(tmp_path / "fleet.sqlite") as database:
        database.execute("DROP TABLE enrolments")
    with open_enrolments(tmp_path) as enrolments:
        assert enrolments.all() == []


def test_a_state_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="state folder"), open_enrolments(tmp_path / "file"):
        pass
    (tmp_path / "fleet.sqlite").write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(StoreError, match="database"), open_enrolments(tmp_path):
        pass
