"""The description of a payload: whatever the card holds, there is a description or one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur_agent.board.errors import SetupError
from secateur_agent.board.provision import NAME, read

GOOD = {
    "v": 1,
    "device": "cam-1",
    "release": "0.1.0-cp311-abc",
    "python": "3.11",
    "machine": "aarch64",
    "unpacked_bytes": 5,
    "clock_s": 1_700_000_000,
    "files": {"root.json": {"sha256": "0" * 64, "size": 2, "secret": False}},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "sha256", "size", "secret"]), inner),
    max_leaves=12,
)


def written(folder: Path, content: bytes) -> Path:
    (folder / NAME).write_bytes(content)
    return folder


def test_a_description_is_read(tmp_path: Path) -> None:
    found = read(written(tmp_path, json.dumps(GOOD).encode()))
    assert (found.device, found.python, found.files["root.json"].size) == ("cam-1", "3.11", 2)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("v", 2),
        ("device", "../x"),
        ("release", "a/b"),
        ("release", ".."),
        ("python", "2.7"),
        ("unpacked_bytes", -1),
        ("unpacked_bytes", True),
        ("clock_s", 5_000_000_000),
        ("files", {"../evil": {"sha256": "0" * 64, "size": 2, "secret": False}}),
        ("files", {"a": {"sha256": "0", "size": 2, "secret": False}}),
        ("files", {"a": {"sha256": "0" * 64, "size": 2, "secret": "no"}}),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(SetupError) as caught:
        read(written(tmp_path, json.dumps({**GOOD, key: value}).encode()))
    assert "flash again" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", sorted(GOOD))
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(SetupError, match=key):
        read(written(tmp_path, json.dumps({k: v for k, v in GOOD.items() if k != key}).encode()))


def test_a_folder_without_a_description_is_not_a_payload(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="not a payload"):
        read(tmp_path)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    with pytest.raises(SetupError) as caught:
        read(written(tmp_path_factory.mktemp("payload"), content))
    assert len(str(caught.value).splitlines()) == 1
