"""What a device is known by to its host, the first time and when it is flashed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert

from secateur.cli.flash_access import HostAccess
from secateur.flash.errors import FlashError
from secateur.fleet.enrolment import open_enrolments, use_token
from secateur.fleet.schema import devices
from secateur.fleet.store import Store


def enrolled(state: Path, access: HostAccess) -> None:
    """Flash cam-1 for the first time, and let it use its token."""
    access.new("cam-1")
    with open_enrolments(state) as enrolments:
        (token,) = enrolments.of("cam-1")
    with opened(state) as store, store.write() as connection:
        use_token(connection, token, "key", 1.0)
        known(connection, "cam-1")


def known(connection: Connection, device: str) -> None:
    """Note the key of a device."""
    connection.execute(insert(devices).values(device=device, public_key="key", first_seen_s=1.0, last_seen_s=1.0))


@contextmanager
def opened(state: Path) -> Iterator[Store]:
    """Open the database of a controller."""
    store = Store(state / "fleet.sqlite")
    yield store
    store.close()


def test_a_device_that_is_not_enrolled_gets_everything_anew(tmp_path: Path) -> None:
    access = HostAccess(tmp_path, "mqtt://all@host", username="all", password="secret")
    assert access.kept("cam-1") is None
    assert access.new("cam-1").token


def test_a_password_for_all_devices_is_the_one_that_is_given_now(tmp_path: Path) -> None:
    before = HostAccess(tmp_path, "mqtt://all@host", username="all", password="old")
    enrolled(tmp_path, before)
    kept = HostAccess(tmp_path, "mqtt://all@host", username="all", password="new").kept("cam-1")
    assert kept is not None
    assert (kept.username, kept.password, kept.token, kept.keeps_password) == ("all", "new", "", False)


def test_where_there_never_was_a_password_no_file_of_one_is_named(tmp_path: Path) -> None:
    access = HostAccess(tmp_path, "mqtt://all@host", username="all")
    enrolled(tmp_path, access)
    kept = access.kept("cam-1")
    assert kept is not None
    assert not kept.keeps_password


def test_the_id_of_an_enrolled_device_goes_to_another_board_only_if_that_is_said(tmp_path: Path) -> None:
    access = HostAccess(tmp_path, "mqtt://all@host")
    access.require_free(["cam-1", "cam-2"])
    enrolled(tmp_path, access)
    with pytest.raises(FlashError, match="device cam-1: is enrolled already; choose another id, or say --replace"):
        access.require_free(["cam-2", "cam-1"])
    HostAccess(tmp_path, "mqtt://all@host", replace=True).require_free(["cam-1"])


def test_the_id_of_a_device_that_was_trusted_on_first_use_is_not_free_either(tmp_path: Path) -> None:
    access = HostAccess(tmp_path, "mqtt://all@host")
    access.require_free(["cam-1"])
    with opened(tmp_path) as store, store.write() as connection:
        known(connection, "cam-1")
    with pytest.raises(FlashError, match="device cam-1: is enrolled already"):
        access.require_free(["cam-1"])


def test_a_board_that_takes_an_id_gets_a_token_again_if_its_first_attempt_failed_halfway(tmp_path: Path) -> None:
    """The board knows its id since then; but the token that was used is of the board before."""
    access = HostAccess(tmp_path, "mqtt://all@host", replace=True)
    enrolled(tmp_path, access)
    assert access.kept("cam-1") is not None
    assert access.new("cam-1").token
    assert access.kept("cam-1") is None


def test_a_card_that_was_never_started_may_be_written_again(tmp_path: Path) -> None:
    access = HostAccess(tmp_path, "mqtt://all@host")
    access.new("cam-1")
    access.require_free(["cam-1"])
