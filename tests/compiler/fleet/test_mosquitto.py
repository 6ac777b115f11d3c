"""The real mosquitto with the configuration that is written for it: who may do what, and what a power cut does not do."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from tests.mosquitto import Mosquitto, TlsClient

from secateur.fleet import certificates
from secateur.fleet.broker_folder import configure
from secateur.fleet.mosquitto_conf import CONTROLLER
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import MAX_CHUNK_BYTES

Connect = Callable[..., TlsClient]


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def connect(mosquitto: Mosquitto) -> Iterator[Connect]:
    made: list[TlsClient] = []

    def make(user: str, password: str, **options: Any) -> TlsClient:
        made.append(TlsClient(mosquitto, user, password, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def controller(mosquitto: Mosquitto, connect: Connect) -> TlsClient:
    return connect(CONTROLLER, mosquitto.folder.controller_password_path.read_text().strip())


def test_a_running_broker_lets_a_device_in_as_soon_as_it_is_added_and_out_when_it_is_removed(
    mosquitto: Mosquitto, connect: Connect
) -> None:
    assert not connect("pi", "anything").accepted
    password = mosquitto.folder.add_device("pi")
    eventually_accepted(connect, "pi", password)
    assert not connect("pi", "wrong").accepted
    assert not connect("", "").accepted, "somebody without a name was let in"
    renewed = mosquitto.folder.add_device("pi")
    eventually_accepted(connect, "pi", renewed)
    assert not connect("pi", password).accepted, "the password of before still holds"
    assert mosquitto.folder.remove_device("pi")
    eventually(lambda: not connect("pi", renewed).accepted)


def eventually_accepted(connect: Connect, user: str, password: str) -> TlsClient:
    """A signal is not answered: try until the file was read again."""
    found: list[TlsClient] = []
    eventually(lambda: found.append(connect(user, password)) or found[-1].accepted)
    return found[-1]


def eventually(check: Callable[[], Any]) -> None:
    for _ in range(200):
        if check():
            return
    raise AssertionError("in vain")


def test_a_device_speaks_for_itself_hears_what_is_for_it_and_all_hear_models(
    mosquitto: Mosquitto, connect: Connect, controller: TlsClient
) -> None:
    pi = eventually_accepted(connect, "pi", mosquitto.folder.add_device("pi"))
    phone = eventually_accepted(connect, "phone", mosquitto.folder.add_device("phone"))
    assert controller.accepted
    controller.subscribe(f"{topics.ROOT}/d/+/up/#")
    for device in (pi, phone):
        device.subscribe(f"{topics.ROOT}/#")  # more than it may hear: mosquitto sifts what it delivers
        device.subscribe(f"{topics.ROOT}/b/#")
    assert pi.publish(topics.up("pi", "state"), b"mine")
    for topic in (
        topics.up("phone", "state"),
        topics.down("phone", "shadow"),
        topics.down("pi", "shadow"),
        topics.chunk("0" * 64, 0),
        "elsewhere",
    ):
        assert not pi.publish(topic, b"not mine"), topic
    assert controller.publish(topics.down("pi", "ack"), b"for pi")
    assert controller.publish(topics.answer("phone", "x"), b"for phone")
    chunk = bytes(MAX_CHUNK_BYTES)
    assert controller.publish(topics.chunk("0" * 64, 0), chunk)
    pi.wait(lambda: (topics.chunk("0" * 64, 0), chunk) in pi.heard)
    phone.wait(lambda: (topics.chunk("0" * 64, 0), chunk) in phone.heard)
    assert {topic for topic, _ in pi.heard} == {topics.down("pi", "ack"), topics.chunk("0" * 64, 0)}
    assert {topic for topic, _ in phone.heard} == {topics.answer("phone", "x"), topics.chunk("0" * 64, 0)}
    assert controller.heard == [(topics.up("pi", "state"), b"mine")]


def test_a_device_cannot_take_the_place_of_another_by_its_client_id(mosquitto: Mosquitto, connect: Connect) -> None:
    pi = eventually_accepted(connect, "pi", mosquitto.folder.add_device("pi"))
    password = mosquitto.folder.add_device("rogue")
    eventually(lambda: connect("rogue", password, client_id="test-pi").accepted)
    assert pi.publish(topics.up("pi", "state"), b"still here")
    assert not pi.ended.is_set()


def test_the_controller_may_have_as_many_messages_in_flight_as_it_uses(mosquitto: Mosquitto) -> None:
    """mosquitto allows 20 unless told otherwise; the controller takes what the broker tells it, up to 60."""
    told: list[int] = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "x", protocol=mqtt.MQTTv5)
    client.tls_set_context(ssl.create_default_context(cafile=str(mosquitto.folder.ca_path)))
    client.username_pw_set(CONTROLLER, mosquitto.folder.controller_password_path.read_text().strip())
    client.on_connect = lambda c, d, f, r, properties: told.append(properties.ReceiveMaximum) or c.disconnect()
    client.connect("localhost", mosquitto.port)
    client.loop_forever()
    assert told == [100]


def test_a_broker_with_a_state_file_of_nuls_starts_and_keeps_none_of_its_own(
    mosquitto: Mosquitto, connect: Connect, tmp_path: Path
) -> None:
    """Broker state file all NULs after power cuts, broker refuses to start (mosquitto#2639, #3160)."""
    folder = mosquitto.folder.path
    before = sorted(path.name for path in folder.iterdir())
    pi = eventually_accepted(connect, "pi", mosquitto.folder.add_device("pi"))
    for number in range(50):
        pi.publish(topics.up("pi", "event"), b"%d" % number)
    mosquitto.kill()
    assert sorted(path.name for path in folder.iterdir()) == before, "it wrote a file that a power cut can spoil"
    (folder / "mosquitto.db").write_bytes(bytes(4096))
    mosquitto.start()
    password = mosquitto.folder.add_device("pi")
    eventually_accepted(connect, "pi", password)


def test_passwords_and_pid_of_before_a_power_cut_do_no_harm(mosquitto: Mosquitto, connect: Connect) -> None:
    """The number in the file may be another process's by now; it must not get the signal."""
    password = mosquitto.folder.add_device("pi")
    mosquitto.kill()
    assert not mosquitto.folder.tell()
    (mosquitto.folder.path / "mosquitto.pid").write_text("1")
    assert not mosquitto.folder.tell()
    mosquitto.start()
    assert connect("pi", password).accepted
    assert mosquitto.folder.tell()


def test_a_broker_that_was_started_with_a_relative_path_is_told_too(mosquitto: Mosquitto, connect: Connect) -> None:
    mosquitto.kill()
    mosquitto.start("mosquitto.conf")
    eventually_accepted(connect, "pi", mosquitto.folder.add_device("pi"))


def test_a_renewed_certificate_is_served_without_a_restart_and_devices_trust_it(
    mosquitto: Mosquitto, connect: Connect
) -> None:
    before = ssl.get_server_certificate(("127.0.0.1", mosquitto.port))
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=certificates.SERVER_DAYS - 100)
    done = configure(mosquitto.folder.path, now=later)
    assert (done.new_ca, done.new_server, done.told) == (False, True, True)
    eventually(lambda: ssl.get_server_certificate(("127.0.0.1", mosquitto.port)) != before)
    assert connect(CONTROLLER, mosquitto.folder.controller_password_path.read_text().strip()).accepted
