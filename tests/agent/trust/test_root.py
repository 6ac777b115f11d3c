"""The trust root: who may sign what."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from secateur_agent.protocol.envelope import Role, keyid, seal
from secateur_agent.protocol.messages import Ack, MessageError
from secateur_agent.trust import TrustError, TrustRoot, load_root, open_signed

SIGNING: dict[Role, SigningKey] = {
    "bundle": SigningKey(b"b" * 32),
    "recut": SigningKey(b"r" * 32),
    "command": SigningKey(b"c" * 32),
}


def public(role: Role) -> str:
    return base64.b64encode(bytes(SIGNING[role].verify_key)).decode()


ROOT = TrustRoot(version=1, bundle=(public("bundle"),), recut=(public("recut"),), command=(public("command"),))


def written(folder: Path, **changes: object) -> Path:
    fields = {"v": 1, "version": 1, "bundle": [public("bundle")], "recut": [public("recut")], **changes}
    path = folder / "root.json"
    path.write_text(json.dumps(fields))
    return path


def test_reads_keys_by_role(tmp_path: Path) -> None:
    root = load_root(written(tmp_path, later="ignored"))
    assert set(root.keys("bundle")) == {keyid(bytes(SIGNING["bundle"].verify_key))}
    assert root.keys("command") == {}
    assert root.keys("device") == {}


@pytest.mark.parametrize("signer", ["bundle", "recut", "command"])
@pytest.mark.parametrize("role", ["bundle", "recut", "command"])
def test_only_the_holder_of_a_role_can_sign_in_it(signer: Role, role: Role) -> None:
    data = seal(role, Ack(boot="b1", seq=1), SIGNING[signer])
    if signer == role:
        assert open_signed(ROOT, role, data, Ack, "ack").seq == 1
    else:
        with pytest.raises(TrustError, match=f"may not sign a {role}"):
            open_signed(ROOT, role, data, Ack, "ack")


def test_something_signed_but_malformed_is_a_message_error() -> None:
    with pytest.raises(MessageError, match=r"ack: .*boot"):
        open_signed(ROOT, "command", seal("command", {"seq": 1}, SIGNING["command"]), Ack, "ack")


def test_a_missing_root_says_where_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match=r"nothing\.json.*copy it from the host"):
        load_root(tmp_path / "nothing.json")


@pytest.mark.parametrize("key", ["", "AAAA", "not base64!", "ä", base64.b64encode(b"x" * 33).decode()])
def test_a_key_that_is_none_is_named_with_its_role(tmp_path: Path, key: str) -> None:
    with pytest.raises(TrustError, match="recut key"):
        load_root(written(tmp_path, recut=[key]))


@pytest.mark.parametrize("changes", [{"v": 2}, {"version": 0}, {"bundle": None}, {"recut": "x"}])
def test_a_root_that_breaks_the_specification_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(TrustError, match=r"root\.json"):
        load_root(written(tmp_path, **changes))


@given(data=st.binary(max_size=200))
def test_a_root_of_random_bytes_is_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("root") / "root.json"
    path.write_bytes(data)
    with pytest.raises(TrustError):
        load_root(path)


SEALED = seal("recut", Ack(boot="b1", seq=1), SIGNING["recut"])


@given(st.integers(0, len(SEALED) * 8 - 1))
def test_a_flipped_bit_never_changes_what_is_trusted(bit: int) -> None:
    altered = bytearray(SEALED)
    altered[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(TrustError):
        assert open_signed(ROOT, "recut", bytes(altered), Ack, "ack") == Ack(boot="b1", seq=1)
