"""What a device is known by to its host, the first time and when it is flashed again."""

from __future__ import annotations

from pathlib import Path

from secateur.cli.flash_access import HostAccess
from secateur.fleet.enrolment import open_enrolments, use_token
from secateur.fleet.store import Store


def enrolled(state: Path, access: HostAccess) -> None:
    """Flash cam-1 for the first time, and let it use its token."""
    access.new("cam-1")
    with open_enrolments(state) as enrolments:
        (token,) = enrolments.of("cam-1")
    store = Store(state / "fleet.sqlite")
    with store.write() as connection:
        use_token(connection, token, "key", 1.0)
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
