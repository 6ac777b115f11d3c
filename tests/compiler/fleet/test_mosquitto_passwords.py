"""mosquitto's password file, read and written as mosquitto does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.fleet.mosquitto_passwords import (
    PasswordFileError,
    format_passwords,
    hash_password,
    matches,
    parse_passwords,
)

USERS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
HASH = hash_password("secret", bytes(range(12)))


def test_a_hash_of_mosquittos_own_program_is_understood(tmp_path: Path) -> None:
    """A line that mosquitto_passwd 2.0.11 wrote."""
    line = (
        b"alice:$7$101$mEfYgeiGQE5T4r+T$"
        b"cfJqGsmJeYFa9uuXBeI1FJG+98kRkvfSF4g8L4UF3GCmXNDAM3n6Ctvy13KBPvS3nD3lImVD083jExCFiNa1nQ==\n"
    )
    users = parse_passwords(line, "passwords")
    assert matches("secret", users["alice"])
    assert not matches("Secret", users["alice"])
    assert format_passwords(users) == line


def test_mosquittos_own_program_understands_ours(tmp_path: Path) -> None:
    """It reads the whole file before it changes one user, and refuses one that it does not understand."""
    program = Path("/usr/bin/mosquitto_passwd")
    assert program.exists(), f"{program} is missing: this test needs it (apt-get install mosquitto)"
    path = tmp_path / "passwords"
    path.write_bytes(format_passwords({"pi": hash_password("a"), "phone": hash_password("b")}))
    path.chmod(0o600)
    subprocess.run([program, "-b", path, "phone", "new"], check=True, capture_output=True, timeout=30)
    users = parse_passwords(path.read_bytes(), "passwords")
    assert matches("a", users["pi"])
    assert matches("new", users["phone"])


@given(st.dictionaries(USERS, st.text(max_size=40), max_size=5))
def test_what_is_written_is_read_back(passwords: dict[str, str]) -> None:
    users = {user: hash_password(password) for user, password in passwords.items()}
    assert parse_passwords(format_passwords(users), "passwords") == users
    assert all(matches(password, users[user]) for user, password in passwords.items())


@given(st.binary(max_size=300))
def test_whatever_is_in_the_file_it_is_users_or_one_line(content: bytes) -> None:
    refusal, users = "", {}
    try:
        users = parse_passwords(content, "passwords")
    except PasswordFileError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert refusal or parse_passwords(format_passwords(users), "passwords") == users


@given(st.integers(min_value=0, max_value=len(HASH) + 2), st.binary(min_size=1, max_size=1))
def test_a_line_with_one_changed_byte_is_another_hash_or_one_line(position: int, byte: bytes) -> None:
    line = bytearray(f"pi:{HASH}\n".encode())
    line[position : position + 1] = byte
    try:
        users = parse_passwords(bytes(line), "passwords")
    except PasswordFileError as error:
        shown = str(error)
        assert HASH not in shown
        return
    for hashed in users.values():
        matches("secret", hashed)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bytes(200), "line 1 is not"),
        (b"\xff\xfe", "not ASCII"),
        (f"pi:{HASH}\nno colon\n".encode(), "line 2 is not"),
        (f"pi:{HASH}\npi:{HASH}\n".encode(), "line 2: user pi comes twice"),
        (f"a:b:{HASH}\n".encode(), "line 1 is not"),
        (b"pi:$6$salt$hash\n", "line 1 is not"),
        (f"pi:{HASH.replace('$101$', '$0$')}\n".encode(), "line 1 is not"),
        (f"pi:{HASH[:-8]}\n".encode(), "line 1 is not"),
        (f"../x:{HASH}\n".encode(), "line 1 is not"),
    ],
)
def test_a_damaged_file_is_one_line_that_says_where(content: bytes, reason: str) -> None:
    with pytest.raises(PasswordFileError, match=reason) as refused:
        parse_passwords(content, "DIR/passwords")
    assert str(refused.value).startswith("DIR/passwords: ")
