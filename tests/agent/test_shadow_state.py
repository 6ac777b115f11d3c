"""The desired shadow: verified, never older, on disk before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.bundle.keys import Keys, create_keys
from secateur_agent.protocol.messages import Desired
from secateur_agent.shadow_state import DesiredShadow, ShadowError
from secateur_agent.store import StoreError


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return create_keys(tmp_path_factory.mktemp("keys"))


def open_shadow(keys: Keys, folder: Path) -> DesiredShadow:
    return DesiredShadow(folder / "desired.json", "d", keys.root)


def signed(keys: Keys, version: int, device: str = "d", pin: str = "") -> bytes:
    return keys.seal("command", Desired(device=device, version=version, pin=pin))


def test_is_kept_over_a_restart_and_taken_once(keys: Keys, tmp_path: Path) -> None:
    shadow = open_shadow(keys, tmp_path)
    assert shadow.version == 0
    desired = shadow.accept(signed(keys, 3, pin="r1-fp32"))
    assert desired is not None
    assert shadow.accept(signed(keys, 3)) is None
    again = open_shadow(keys, tmp_path)
    assert again.desired == desired
    assert again.accept(signed(keys, 3)) is None


def test_an_older_one_is_refused(keys: Keys, tmp_path: Path) -> None:
    shadow = open_shadow(keys, tmp_path)
    shadow.accept(signed(keys, 3))
    with pytest.raises(ShadowError, match="version 2 is older than 3"):
        shadow.accept(signed(keys, 2))


def test_one_for_another_device_or_by_another_key_is_refused(keys: Keys, tmp_path: Path) -> None:
    shadow = open_shadow(keys, tmp_path)
    with pytest.raises(ShadowError, match="signed for device 'e'"):
        shadow.accept(signed(keys, 1, device="e"))
    with pytest.raises(ShadowError, match="may not sign a command"):
        shadow.accept(keys.seal("bundle", Desired(device="d", version=1)))
    assert shadow.desired is None


def test_one_that_cannot_be_kept_is_not_accepted(keys: Keys, tmp_path: Path) -> None:
    shadow = DesiredShadow(tmp_path / "missing" / "desired.json", "d", keys.root)
    with pytest.raises(StoreError):
        shadow.accept(signed(keys, 1))
    assert shadow.version == 0


@given(st.binary(max_size=200))
def test_any_payload_is_refused_in_one_line(keys: Keys, tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("shadow")
    with pytest.raises(ShadowError) as caught:
        open_shadow(keys, folder).accept(data)
    assert "\n" not in str(caught.value)
    (folder / "desired.json").write_bytes(data)
    assert "is not used" in open_shadow(keys, folder).problem
