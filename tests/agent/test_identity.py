"""The device's key and boot id."""

from __future__ import annotations

from pathlib import Path

import pytest

from secateur_agent.identity import IdentityError, device_key, new_boot_id
from secateur_agent.protocol.topics import checked_id


def test_the_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    key = device_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert device_key(path) == key
    assert device_key(tmp_path / "other.key") != key


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 44])
def test_a_damaged_key_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "device.key"
    path.write_bytes(content)
    with pytest.raises(IdentityError, match="damaged; restore it"):
        device_key(path)
    assert path.read_bytes() == content


def test_boot_ids_differ_and_fit_into_topics() -> None:
    ids = {new_boot_id() for _ in range(50)}
    assert len(ids) == 50
    assert all(checked_id(boot) for boot in ids)
