"""Devices are enrolled by token over a real mosquitto with TLS and passwords; clones and strangers are kept out."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.mosquitto import Mosquitto
from tests.scripted_device import HostProcess
from tests.system.conftest import DEVICE, AgentProcess
from tests.system.stack import expected, infer_soon

from secateur.bundle.keys import Keys
from secateur.fleet.enrolment import open_enrolments

LIMIT_S = 60.0


class Fleet:
    """mosquitto, the host (a broker with TLS: by token alone), and agents that are flashed as ``secateur flash`` would."""

    def __init__(self, folder: Path, keys: Keys, installed: Callable[..., AgentProcess]) -> None:
        self.folder = folder
        self.installed = installed
        self.broker = Mosquitto(folder / "broker")
        made = self.broker.folder
        options = ["--password-file", str(made.controller_password_path), "--ca-file", str(made.ca_path)]
        (folder / "host").mkdir()
        all_options = ["--keys", str(keys.folder), *options]
        self.host = HostProcess(folder / "host", made.controller_url, *all_options)
        self.count = 0

    def flash(self, device: str = DEVICE, copy_of: AgentProcess | None = None) -> AgentProcess:
        """Set an agent up with its broker's password and a token; or with a copy of a card that was not started yet."""
        self.count += 1
        etc = self.folder / f"etc-{self.count}"
        if copy_of is None:
            etc.mkdir()
            (etc / "broker-password").write_text(self.broker.folder.add_device(device) + "\n")
            with open_enrolments(self.host.state) as enrolments:
                (etc / "enrolment-token").write_text(enrolments.create(device) + "\n")
        else:
            shutil.copytree(self.folder / "card", etc)
        if not (self.folder / "card").exists():
            shutil.copytree(etc, self.folder / "card")
        agent = self.installed(
            f"mqtts://localhost:{self.broker.port}",
            device=device,
            username=device,
            password_file=str(etc / "broker-password"),
            ca_file=str(self.broker.folder.ca_path),
            enrolment_token_file=str(etc / "enrolment-token"),
        )
        (agent.state / "device.key").unlink()  # made at the first start, by each board for itself
        return agent

    def token_file(self, agent: AgentProcess) -> Path:
        """Where an agent's token is, or was."""
        (line,) = [line for line in agent.config.read_text().splitlines() if line.startswith("enrolment_token_file")]
        return Path(line.partition(" = ")[2].strip('"'))

    def events(self, device: str = DEVICE) -> list[str]:
        """What the host has on record of a device."""
        with self.host.client() as client:
            known = [found["device"] for found in client.devices()]
            return [event["text"] for event in client.events(device)] if device in known else []

    def device(self, device: str = DEVICE) -> dict[str, Any]:
        """What the host knows of a device, {} if nothing."""
        with self.host.client() as client:
            known = [found["device"] for found in client.devices()]
            return client.device(device) if device in known else {}

    def last_sample(self, device: str = DEVICE) -> tuple[str, int]:
        """Boot and number of the newest sample that the host has."""
        with self.host.client() as client:
            newest = client.telemetry(device, after=-1, limit=1)
        return (newest[-1]["boot"], newest[-1]["seq"]) if newest else ("", 0)

    def enrolled(self, agent: AgentProcess) -> None:
        """Wait until an agent is enrolled, and says so."""
        eventually("enrolment", lambda: status(agent)["enrolment"] == "enrolled", agent)


def status(agent: AgentProcess) -> dict[str, Any]:
    """What ``secateur-agent status`` says."""
    found: dict[str, Any] = json.loads(agent.command("status", "--json").stdout)
    return found


def eventually(what: str, check: Callable[[], Any], *agents: AgentProcess) -> Any:
    deadline_s = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline_s:
        if found := check():
            return found
        time.sleep(0.1)
    raise AssertionError("\n".join([f"in vain: {what}", *(agent.log.read_text()[-2000:] for agent in agents)]))


@pytest.fixture
def fleet(tmp_path: Path, keys: Keys, installed: Callable[..., AgentProcess]) -> Iterator[Fleet]:
    made = Fleet(tmp_path, keys, installed)
    made.broker.start()
    yield made
    made.host.kill()
    made.broker.kill()


def test_a_flashed_device_is_enrolled_and_a_copy_of_its_card_is_refused_and_stays_away(fleet: Fleet) -> None:
    fleet.host.start()
    true = fleet.flash()
    assert status(true)["enrolment"] == "waiting"
    true.start()
    fleet.enrolled(true)
    assert not fleet.token_file(true).exists()
    found = eventually("state", lambda: (d := fleet.device()) and d["state"] == "ready" and d["rung"] and d, true)
    assert "by its token" in found["enrolment"]
    boot, _ = eventually("samples", lambda: max(fleet.last_sample(), ("", 1)) > ("", 1) and fleet.last_sample(), true)

    clone = fleet.flash(copy_of=true)
    clone.start()
    eventually("refusal", lambda: "stays off the broker for" in clone.log.read_text(), clone)
    refused = status(clone)
    assert refused["enrolment"] == "refused"
    assert "its token was used before, by key" in refused["enrolment_text"]
    assert any("its token was used before" in text for text in fleet.events())
    np.testing.assert_allclose(infer_soon(clone)[0], expected(16), rtol=1e-5)

    reached = fleet.last_sample()[1]
    eventually("more samples", lambda: fleet.last_sample() >= (boot, reached + 10), true, clone)
    found = eventually("state", lambda: (d := fleet.device())["state"] == "ready" and d, true)
    assert found["boot"] == boot
    connections = clone.log.read_text().count("link:")
    clone.kill()
    clone.start()  # a card that is copied is also switched off and on
    eventually("start", lambda: clone.log.read_text().count("stays off the broker") == 2, clone)
    infer_soon(clone)
    reached = fleet.last_sample()[1]
    eventually("more samples", lambda: fleet.last_sample() >= (boot, reached + 10), true, clone)
    assert clone.log.read_text().count("link:") == connections, "it went to the broker again"
    assert true.stop() == 0
    assert clone.stop() == 0


def test_a_device_that_was_flashed_again_takes_the_place_of_its_key_of_before(fleet: Fleet) -> None:
    fleet.host.start()
    before = fleet.flash()
    before.start()
    fleet.enrolled(before)
    reached = eventually("samples", lambda: fleet.last_sample()[1], before)
    again = fleet.flash()  # written, not started: the key goes on counting, though the broker has a new password
    key = fleet.device()["keyid"]
    before.stop()
    password = fleet.token_file(again).with_name("broker-password").read_text()
    fleet.token_file(before).with_name("broker-password").write_text(password)  # else the broker would not let it in
    before.start()
    eventually("more samples", lambda: fleet.last_sample()[1] not in (0, reached), before)
    assert fleet.device()["keyid"] == key
    before.kill()
    again.start()
    fleet.enrolled(again)
    assert fleet.device()["keyid"] != key
    again.kill()
    before.start()
    eventually("refusal", lambda: "signed with another key" in status(before)["enrolment_text"], before)


def test_a_device_is_enrolled_although_host_and_broker_were_away_and_forgot_everything(fleet: Fleet) -> None:
    agent = fleet.flash()
    agent.start()
    eventually("connection", lambda: status(agent)["enrolment_text"] == "for the host to answer the token", agent)
    agent.kill()  # in the middle of it, with the birth retained at the broker
    fleet.broker.kill()
    fleet.host.start(connected=False)
    agent.start()
    infer_soon(agent)
    fleet.broker.start()
    fleet.enrolled(agent)
    eventually("samples", lambda: fleet.last_sample()[1], agent)


def test_nothing_is_taken_of_a_device_without_a_token_until_it_has_one(fleet: Fleet) -> None:
    fleet.host.start()
    agent = fleet.flash()
    token = fleet.token_file(agent)
    good = token.read_text()
    token.unlink()
    agent.start()
    eventually("refusal", lambda: status(agent)["enrolment"] == "refused", agent)
    found = fleet.device()
    assert (found["profile"], found["keyid"], found["boot"], found["reported"]) == ("", "", "", None)
    assert fleet.last_sample() == ("", 0)
    assert any("it proves none" in text for text in fleet.events())
    with fleet.host.client() as client:
        dropped = client.status()["unenrolled_messages"]
    assert dropped
    token.write_text(good)
    agent.kill()
    agent.start()  # with a token that it was not refused with, it does not wait
    fleet.enrolled(agent)
    eventually("samples", lambda: fleet.last_sample()[1], agent)
