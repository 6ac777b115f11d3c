from __future__ import annotations

from typing import Any

import msgspec

from secateur.bundle.keys import Keys
from secateur.fleet.devices import DeviceStore
from secateur.fleet.shadow import Shadows
from secateur.fleet.store import Store
from secateur_agent.protocol.envelope import open_envelope
from secateur_agent.protocol.messages import Desired, Reported, decode


class Sent:
    """Keeps what was published."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []

    def __call__(self, topic: str, payload: bytes, *, qos: int, retain: bool = False, **_: Any) -> bool:
        self.messages.append((topic, payload, retain))
        return True


def pinned(rung: str) -> Any:
    return lambda desired: msgspec.structs.replace(desired, pin=rung)


def test_a_change_is_stored_signed_and_published_retained_with_the_next_version(store: Store, keys: Keys) -> None:
    sent = Sent()
    shadows = Shadows(store, keys, sent)
    shadows.change("pi", pinned("r1-fp32"))
    wanted, _ = shadows.change("pi", pinned("r2-fp32"))
    assert (wanted.version, wanted.pin) == (2, "r2-fp32")
    topic, payload, retained = sent.messages[-1]
    assert (topic, retained) == ("secateur/v1/d/pi/dn/shadow", True)
    assert decode(open_envelope("command", payload, keys.root.keys("command")), Desired) == wanted


def test_versions_go_on_after_a_restart(store: Store, keys: Keys) -> None:
    Shadows(store, keys, Sent()).change("pi", pinned("r1-fp32"))
    again = Shadows(store, keys, Sent())
    present = again.get("pi")
    assert present is not None
    assert present.pin == "r1-fp32"
    assert again.change("pi", pinned(""))[0].version == 2


def test_versions_go_on_from_what_the_device_has_seen_if_the_database_was_lost(store: Store, keys: Keys) -> None:
    devices = DeviceStore(store)
    with store.write() as connection:
        devices.reported(connection, "pi", Reported(version=41, boot="b"))
        devices.reported(connection, "liar", Reported(version=2**53, boot="b"))
    shadows = Shadows(store, keys, Sent())
    assert shadows.change("pi", pinned(""))[0].version == 42
    assert shadows.change("liar", pinned(""))[0].version == 1


def test_all_shadows_are_published_again(store: Store, keys: Keys) -> None:
    sent = Sent()
    shadows = Shadows(store, keys, sent)
    for device in ("a", "b"):
        shadows.change(device, pinned(""))
    before = list(sent.messages)
    shadows.publish_all()
    assert sorted(sent.messages[2:]) == sorted(before)
