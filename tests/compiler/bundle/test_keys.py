"""Signing keys: made once, readable by their owner alone, and missing ones are told."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from secateur.bundle.keys import ROLES, Keys, KeysError, create_keys, default_folder, load_keys, load_or_create_keys
from secateur_agent.bundle.manifest import Recut, open_manifest
from secateur_agent.trust import TrustError


def test_private_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    keys = create_keys(tmp_path / "keys")
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    for role in ROLES:
        assert stat.S_IMODE((keys.folder / f"{role}.key").stat().st_mode) == 0o600


def test_keys_come_back_and_are_never_replaced(tmp_path: Path) -> None:
    keys = create_keys(tmp_path)
    assert load_or_create_keys(tmp_path).signing == keys.signing
    with pytest.raises(KeysError, match="there are keys already"):
        create_keys(tmp_path)
    assert load_keys(tmp_path).signing == keys.signing


def test_the_root_holds_the_public_halves(tmp_path: Path) -> None:
    keys = create_keys(tmp_path)
    assert len({key for role in ROLES for key in keys.root.keys(role)}) == 3
    text = keys.root_path.read_text()
    assert all((tmp_path / f"{role}.key").read_text().strip() not in text for role in ROLES)


def test_a_key_kept_elsewhere_is_left_out_and_named_when_needed(tmp_path: Path) -> None:
    create_keys(tmp_path)
    (tmp_path / "bundle.key").unlink()
    keys = load_keys(tmp_path)
    assert set(keys.signing) == {"recut", "command"}
    with pytest.raises(KeysError, match=r"bundle\.key is not there"):
        keys.seal("bundle", {})


@pytest.mark.parametrize("content", [b"", b"not base64 at all", b"AAAA", b"\xff\xfe"])
def test_a_damaged_key_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    create_keys(tmp_path)
    (tmp_path / "recut.key").write_bytes(content)
    with pytest.raises(KeysError, match=r"recut\.key: damaged") as caught:
        load_keys(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_damaged_root_is_named_in_one_line(tmp_path: Path) -> None:
    create_keys(tmp_path)
    (tmp_path / "root.json").write_text("{}")
    with pytest.raises(TrustError) as caught:
        _ = load_keys(tmp_path).root
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeysError, match="cannot be written"):
        create_keys(tmp_path / "file" / "keys")
    with pytest.raises(KeysError, match="secateur keys init"):
        load_keys(tmp_path / "nowhere")


def test_the_default_folder_follows_the_users_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "secateur" / "keys"


def test_only_the_right_role_signs(tmp_path: Path) -> None:
    keys = create_keys(tmp_path)
    swapped = Keys(keys.folder, {"bundle": keys.signing["recut"], "recut": keys.signing["recut"]})
    with pytest.raises(TrustError):
        open_manifest(keys.root, swapped.seal("bundle", {"kind": Recut.__name__}))
