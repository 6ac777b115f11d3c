from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from secateur.bundle.keys import Keys
from secateur.fleet.commands import CommandError, Commands
from secateur.fleet.schema import commands as table
from secateur.fleet.store import Store
from secateur_agent.protocol.envelope import open_envelope
from secateur_agent.protocol.messages import Command, CommandStatus, decode


class Wire:
    """Keeps what is retained on the broker."""

    def __init__(self) -> None:
        self.retained: dict[str, bytes] = {}

    def __call__(self, topic: str, payload: bytes, *, qos: int, retain: bool = False, **_: Any) -> bool:
        assert retain
        self.retained.pop(topic, None)
        if payload:
            self.retained[topic] = payload
        return True


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def commands(store: Store, keys: Keys, wire: Wire) -> Commands:
    return Commands(store, keys, wire)


def record(store: Store, commands: Commands, identity: str, status: CommandStatus) -> bool:
    with store.write() as connection:
        return commands.record(connection, "pi", identity, status)


def test_a_stuck_command_never_blocks_the_next(store: Store, commands: Commands, wire: Wire) -> None:
    """One stuck deployment blocked all later ones: https://github.com/aws-greengrass/aws-greengrass-nucleus/issues/1203"""
    stuck = commands.issue("pi", "measure")
    record(store, commands, stuck["id"], CommandStatus(status="executing"))
    following = commands.issue("pi", "diagnose")
    assert len(wire.retained) == 2
    assert record(store, commands, following["id"], CommandStatus(status="done", result={"cpu": "ok"}))
    commands.clear("pi", following["id"])
    assert list(wire.retained) == [f"secateur/v1/d/pi/dn/cmd/{stuck['id']}"]
    assert commands.get("pi", following["id"])["result"] == {"cpu": "ok"}
    assert commands.get("pi", stuck["id"])["status"] == "executing"


def test_a_command_is_signed_and_its_seq_grows(commands: Commands, wire: Wire, keys: Keys) -> None:
    for body in ("measure", "restart"):
        commands.issue("pi", body)
    opened = [open_envelope("command", payload, keys.root.keys("command")) for payload in wire.retained.values()]
    first, second = (decode(signed, Command) for signed in opened)
    assert (first.body, second.body) == ("measure", "restart")
    assert first.seq < second.seq


def test_what_comes_after_the_end_is_ignored(store: Store, commands: Commands) -> None:
    sent = commands.issue("pi", "restart")
    assert record(store, commands, sent["id"], CommandStatus(status="done"))
    assert not record(store, commands, sent["id"], CommandStatus(status="refused", text="seen before"))
    assert not record(store, commands, "never-sent", CommandStatus(status="done"))
    assert commands.get("pi", sent["id"])["status"] == "done"


def test_an_expired_command_ends_and_is_cleared(store: Store, commands: Commands, wire: Wire) -> None:
    sent = commands.issue("pi", "measure", 1.0)
    with store.write() as connection:
        connection.execute(update(table).values(expires_s=1.0))
    assert commands.expire() == [("pi", sent["id"])]
    assert wire.retained == {}
    assert commands.get("pi", sent["id"])["status"] == "expired"
    assert commands.expire() == []


def test_open_commands_are_published_again_to_a_broker_that_forgot_them(
    store: Store, commands: Commands, wire: Wire
) -> None:
    ended, still_open = commands.issue("pi", "measure"), commands.issue("pi", "diagnose")
    record(store, commands, ended["id"], CommandStatus(status="failed"))
    wire.retained.clear()
    commands.publish_open()
    assert list(wire.retained) == [f"secateur/v1/d/pi/dn/cmd/{still_open['id']}"]


@pytest.mark.parametrize(("body", "expiry_s"), [("rm -rf /", 60.0), ("restart", 0.0), ("restart", float("nan"))])
def test_a_command_out_of_the_closed_set_or_range_is_refused(commands: Commands, body: str, expiry_s: float) -> None:
    with pytest.raises(CommandError, match="choose"):
        commands.issue("pi", body, expiry_s)
