"""The file that remembers the enrolment, and the token's file, whatever they hold."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur_agent.config import Config
from secateur_agent.enrolment_record import (
    FILE,
    Record,
    TokenFileError,
    describe,
    read_record,
    read_token,
    remove_token,
    write_record,
)
from secateur_agent.protocol.enrolment import encode_token


def config(folder: Path, **changes: str) -> Config:
    fields = {"device": "pi", "profile": "p", "state_dir": str(folder), "trust_root": "r", "broker": "mqtt://h", **changes}
    return Config(**fields)


@given(st.binary(max_size=300))
def test_a_damaged_record_is_as_none(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / FILE).write_bytes(content)
        assert isinstance(read_record(Path(name)), Record)
        assert "\n" not in describe(config(Path(name)))[1]


@pytest.mark.parametrize(
    "content", [b'{"until_s":1e300}', b'{"wait_s":-1}', b'{"refusals":1e9}', b"\0" * 100, b"[" * 20_000, b"x" * 20_000]
)
def test_a_record_that_cannot_be_is_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert read_record(tmp_path) == Record()


@given(
    st.sampled_from(["", "waiting", "enrolled", "refused"]),
    st.floats(min_value=0, max_value=2.5e11),
    st.floats(min_value=0, max_value=2.5e11),
)
def test_any_record_is_read_back_and_described(status: str, wall_s: float, until_s: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        record = Record(status=status, keyid="0" * 16, wall_s=wall_s, until_s=until_s)  # type: ignore[arg-type]
        write_record(Path(name), record)
        assert read_record(Path(name)) == record
        assert describe(config(Path(name)))[0] in ("no token", "waiting", "enrolled", "refused")


def test_a_refused_device_says_why_and_what_to_do(tmp_path: Path) -> None:
    write_record(tmp_path, Record(status="refused", text="its token has expired", wall_s=1.8e9, until_s=1.8e9 + 3600))
    word, line = describe(config(tmp_path))
    assert word == "refused"
    assert "its token has expired" in line
    assert "2027-01-15 09:00:00 UTC" in line
    assert str(tmp_path / FILE) in line


def test_a_device_without_token_and_answer_says_so(tmp_path: Path) -> None:
    assert describe(config(tmp_path))[0] == "no token"
    token = tmp_path / "token"
    token.write_text(encode_token(bytes(32)))
    assert describe(config(tmp_path, enrolment_token_file=str(token)))[0] == "waiting"
    assert describe(config(tmp_path, enrolment_token_file=str(token), broker="")) == ("waiting", "no broker is configured")


def test_no_file_is_no_token_and_anything_else_is_one_line(tmp_path: Path) -> None:
    assert read_token("") is None
    assert read_token(str(tmp_path / "none")) is None
    with pytest.raises(TokenFileError, match="cannot be read: Is a directory"):
        read_token(str(tmp_path))
    with pytest.raises(TokenFileError, match="cannot be removed: Is a directory"):
        remove_token(str(tmp_path))


def test_a_removed_token_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(encode_token(os.urandom(32)))
    remove_token(str(path))
    assert read_token(str(path)) is None
    remove_token(str(path))
