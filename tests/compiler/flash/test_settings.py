from __future__ import annotations

from pathlib import Path

import pytest

from secateur.flash.errors import FlashError
from secateur.flash.settings import Settings, make_user, make_wifi

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB7yF4z0Jr2dVQkq0mYh7gkqB4oPzT0m5o1v1Yb9pXcd ops@host"
HASH = "$6$rounds=5000$saltsalt$" + "a" * 86


def test_the_key_of_a_network_is_that_of_the_standard() -> None:
    """IEEE 802.11i, annex H.4.3, test vectors 1 and 2."""
    assert make_wifi("IEEE", "password", "DE").psk == "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
    assert make_wifi("ThisIsASSID", "ThisIsAPassword", "DE").psk == (
        "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af"
    )


def test_a_key_is_taken_as_it_is_and_a_newline_at_the_end_of_a_password_file_is_not_part_of_it() -> None:
    assert make_wifi("x", "AB" * 32, "de").psk == "ab" * 32
    assert make_wifi("x", "password\n", "de") == make_wifi("x", "password", "DE")
    assert make_wifi("x", "", "DE").psk == ""


@pytest.mark.parametrize(
    ("ssid", "password", "country", "why"),
    [
        ("", "password", "DE", "1 to 32 bytes"),
        ("ü" * 17, "password", "DE", "1 to 32 bytes"),
        ("a\nb", "password", "DE", "no control characters"),
        ("x", "short", "DE", "8 to 63"),
        ("x", "p" * 65, "DE", "8 to 63"),
        ("x", "passwört", "DE", "printable ASCII"),
        ("x", "password", "", "--wifi-country"),
        ("x", "password", "DEU", "--wifi-country"),
    ],
)
def test_a_network_that_no_board_could_join_is_refused(ssid: str, password: str, country: str, why: str) -> None:
    with pytest.raises(FlashError, match=why) as refused:
        make_wifi(ssid, password, country)
    assert not password or password not in str(refused.value)


@pytest.mark.parametrize(
    ("device", "hostname"),
    [("pi-kitchen", "pi-kitchen"), ("Cam_003.North", "cam-003-north"), ("x" * 64, "x" * 63), ("a" * 62 + "-b", "a" * 62)],
)
def test_the_device_id_becomes_a_host_name(device: str, hostname: str) -> None:
    assert Settings(device).hostname == hostname


def test_keys_and_a_hash_let_a_user_in(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# mine\n\n{KEY}\n")
    user = make_user("ops", tmp_path / "keys", f"{HASH}\n")
    assert user.authorized_keys == (KEY,)
    assert user.password_hash == HASH


@pytest.mark.parametrize("name", ["", "Ops", "root", "secateur", "a b", "x" * 33, "a;reboot"])
def test_names_that_are_no_user_are_refused(name: str) -> None:
    with pytest.raises(FlashError, match="--user"):
        make_user(name, None, HASH)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "a private key; name the file that ends with .pub"),
        ("hello\n", "line 1 is not a public SSH key"),
        ("# none\n", "no key in it"),
    ],
)
def test_what_is_no_public_key_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(FlashError, match=why):
        make_user("ops", tmp_path / "keys", "")


def test_a_password_in_clear_is_refused_and_not_told() -> None:
    with pytest.raises(FlashError, match="a password in clear is not written") as refused:
        make_user("ops", None, "hunter2hunter2")
    assert "hunter2" not in str(refused.value)


def test_a_user_whom_nothing_lets_in_is_refused() -> None:
    with pytest.raises(FlashError, match="nobody can log in"):
        make_user("ops", None, "")
