from __future__ import annotations

import logging
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from secateur_agent.link import BrokerAddress, Connected, Disconnected, Link, LinkError, Received
from secateur_agent.link.client import MAX_OUT_MESSAGES
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import State, decode

LIMIT_S = 20.0
"""Far above what anything here takes; a test that waits as long has failed."""

DEVICE = "board-1"
STATE = topics.up(DEVICE, "state")


class Broker(Protocol):
    port: int
    url: str
    pid: int

    def start(self) -> None: ...
    def kill(self) -> None: ...


Inbox = queue.Queue[Any]
MakeLink = Callable[..., tuple[Link, Inbox]]


@pytest.fixture
def make_link(broker: Broker) -> Iterator[MakeLink]:
    links: list[Link] = []

    def make(device: str = DEVICE, start: bool = True, inbox: Inbox | None = None, **options: Any) -> tuple[Link, Inbox]:
        inbox = inbox if inbox is not None else queue.Queue()
        address = options.pop("address", None) or BrokerAddress.parse(broker.url)
        link = Link(device, "boot-1", address, inbox, reconnect_s=(0.1, 0.5), **options)
        links.append(link)
        if start:
            link.start()
        return link, inbox

    yield make
    for link in links:
        link.stop()


def expect(inbox: Inbox, kind: type[Any], acknowledge: bool = True) -> Any:
    """Return the next event, which must be of this kind."""
    event = inbox.get(timeout=LIMIT_S)
    assert isinstance(event, kind), event
    if acknowledge and isinstance(event, Received):
        event.acknowledge()
    return event


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_subscribed(sender: Link, inbox: Inbox, topic: str) -> None:
    """Send probes to ``topic`` until one arrives: the subscription is made without an event."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        sender.publish(topic, b"probe")
        try:
            event = inbox.get(timeout=0.2)
            assert isinstance(event, Received), event
            event.acknowledge()
            break
        except queue.Empty:
            assert time.monotonic() < deadline, f"nothing arrives on {topic}"
    # No probe is left on its way: the marker comes behind them.
    sender.publish(topic, b"marker")
    while expect(inbox, Received).payload != b"marker":
        pass


def test_messages_travel_both_ways(make_link: MakeLink) -> None:
    device, device_inbox = make_link()
    host, host_inbox = make_link("host")
    assert expect(device_inbox, Connected) == Connected(session_present=False)
    expect(host_inbox, Connected)
    device.subscribe("t/#")
    wait_until_subscribed(host, device_inbox, "t/x")
    chunk = random.Random(1).randbytes(256 << 10)
    assert host.publish("t/1", chunk, expiry_s=60)
    assert host.publish("t/2", b"", qos=0)
    assert {expect(device_inbox, Received) for _ in range(2)} == {
        Received("t/1", chunk, False),
        Received("t/2", b"", False),
    }
    device.unsubscribe("t/#")
    device.subscribe("u/+")
    wait_until_subscribed(host, device_inbox, "u/1")
    host.publish("t/1", b"not wanted")
    host.publish("u/1", b"wanted")
    assert expect(device_inbox, Received).payload == b"wanted"


def test_retained_message_is_marked(make_link: MakeLink) -> None:
    host, host_inbox = make_link("host")
    expect(host_inbox, Connected)
    host.publish("r/1", b"kept", retain=True)
    device, inbox = make_link()
    expect(inbox, Connected)
    device.subscribe("r/1")
    assert expect(inbox, Received) == Received("r/1", b"kept", True)


def test_broker_may_come_later(broker: Broker, make_link: MakeLink) -> None:
    broker.kill()
    link, inbox = make_link()
    link.subscribe("t/1")
    assert "cannot reach mqtt://127.0.0.1" in expect(inbox, Disconnected).reason
    assert not link.connected
    assert not link.publish("t/1", b"QoS 0 needs a connection", qos=0)
    assert link.publish("t/1", b"waits")
    broker.start()
    expect(inbox, Connected)
    assert link.connected
    assert expect(inbox, Received).payload == b"waits"


def test_it_can_be_started_again_after_it_was_stopped(make_link: MakeLink) -> None:
    """A refused device leaves the broker for hours, then it tries again."""
    device, inbox = make_link()
    expect(inbox, Connected)
    device.subscribe("t/#")
    for _ in range(2):
        device.stop()
        assert "ended" in expect(inbox, Disconnected).reason
        assert not device.connected
        device.publish("t/1", b"said meanwhile")
        device.start()
        expect(inbox, Connected)
        assert expect(inbox, Received).payload == b"said meanwhile"


def test_not_deaf_after_the_broker_restarted(broker: Broker, make_link: MakeLink) -> None:
    """Agents were connected and received nothing after a reconnect (thin-edge#3462)."""
    device, inbox = make_link()
    expect(inbox, Connected)
    for n in range(120):
        device.subscribe(f"many/{n}")
    for _ in range(3):
        broker.kill()
        assert "ended" in expect(inbox, Disconnected).reason
        assert not device.connected
        broker.start()
        assert expect(inbox, Connected) == Connected(session_present=False)
        host, host_inbox = make_link("host")
        expect(host_inbox, Connected)
        for topic in ("many/0", "many/77", "many/119"):
            wait_until_subscribed(host, inbox, topic)
        host.stop()


def test_not_deaf_after_a_cut_connection(make_link: MakeLink) -> None:
    """The same with a broker that kept the session, and with a subscription made while away (thin-edge#3462)."""
    device, inbox = make_link()
    expect(inbox, Connected)
    host, host_inbox = make_link("host")
    expect(host_inbox, Connected)
    device.subscribe("before/1")
    wait_until_subscribed(host, inbox, "before/1")
    device._client.reset()
    expect(inbox, Disconnected)
    device.subscribe("meanwhile/1")
    assert expect(inbox, Connected) == Connected(session_present=True)
    wait_until_subscribed(host, inbox, "before/1")
    wait_until_subscribed(host, inbox, "meanwhile/1")


def test_what_was_unsubscribed_while_away_is_not_subscribed_again(broker: Broker, make_link: MakeLink) -> None:
    device, inbox = make_link()
    expect(inbox, Connected)
    device.subscribe("unwanted/1", "wanted/1")
    broker.kill()
    expect(inbox, Disconnected)
    device.unsubscribe("unwanted/1")
    broker.start()
    expect(inbox, Connected)
    host, host_inbox = make_link("host")
    expect(host_inbox, Connected)
    wait_until_subscribed(host, inbox, "wanted/1")
    host.publish("unwanted/1", b"")
    host.publish("wanted/1", b"last")
    assert expect(inbox, Received) == Received("wanted/1", b"last", False)


def test_stop_leaves_the_state_disconnected_and_no_will(make_link: MakeLink) -> None:
    host, host_inbox = make_link("host")
    expect(host_inbox, Connected)
    host.subscribe(STATE, "marker")
    wait_until_subscribed(host, host_inbox, "marker")
    for state in ("disconnected", "sleeping"):
        device, inbox = make_link()
        expect(inbox, Connected)
        device.stop(state)
        assert not device.connected
        assert decode(expect(host_inbox, Received).payload, State) == State(state=state, boot="boot-1")
        host.publish("marker", b"")
        assert expect(host_inbox, Received).topic == "marker"
        late, late_inbox = make_link(f"late-{state}")
        expect(late_inbox, Connected)
        late.subscribe(STATE)
        received = expect(late_inbox, Received)
        assert received.retained
        assert decode(received.payload, State).state == state
        device.stop()


def test_a_killed_device_is_reported_lost(broker: Broker, make_link: MakeLink) -> None:
    host, host_inbox = make_link("host")
    expect(host_inbox, Connected)
    script = (
        "import queue, sys\n"
        "from secateur_agent.link import BrokerAddress, Link\n"
        "inbox = queue.Queue()\n"
        f"link = Link({DEVICE!r}, 'boot-7', BrokerAddress.parse(sys.argv[1]), inbox)\n"
        "link.start()\n"
        "print(inbox.get(timeout=20), flush=True)\n"
        "inbox.get()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, broker.url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "Connected" in process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    host.subscribe(STATE)
    received = expect(host_inbox, Received)
    assert decode(received.payload, State) == State(state="lost", boot="boot-7")
    late, late_inbox = make_link("late")
    expect(late_inbox, Connected)
    late.subscribe(STATE)
    assert expect(late_inbox, Received) == Received(STATE, received.payload, True)


def test_what_was_not_acknowledged_comes_again_after_a_crash(make_link: MakeLink) -> None:
    device, inbox = make_link()
    expect(inbox, Connected)
    host, host_inbox = make_link("host")
    expect(host_inbox, Connected)
    device.subscribe("t/+")
    wait_until_subscribed(host, inbox, "t/0")
    for n in (1, 2, 3):
        host.publish(f"t/{n}", b"")
    first = [expect(inbox, Received, acknowledge=False) for _ in range(3)]
    first[0].acknowledge()
    first[2].acknowledge()
    time.sleep(0.2)
    device._client.reset()
    expect(inbox, Disconnected)
    first[1].acknowledge()
    expect(inbox, Connected)
    again = {expect(inbox, Received).topic for _ in range(2)}
    assert again == {"t/2", "t/3"}
    wait_until_subscribed(host, inbox, "t/9")


def test_out_of_order_acknowledgement_keeps_the_connection(make_link: MakeLink) -> None:
    device, inbox = make_link()
    expect(inbox, Connected)
    host, host_inbox = make_link("host")
    expect(host_inbox, Connected)
    device.subscribe("t/+")
    wait_until_subscribed(host, inbox, "t/0")
    for _ in range(3):
        for n in range(60):
            host.publish(f"t/{n}", b"")
        received = [expect(inbox, Received, acknowledge=False) for _ in range(60)]
        random.Random(2).shuffle(received)
        for message in received:
            message.acknowledge()
    wait_until_subscribed(host, inbox, "t/0")


class FaultyInbox(queue.Queue[Any]):
    """Raises once for each message with the payload ``poison``."""

    def put_nowait(self, item: Any) -> None:
        if isinstance(item, Received) and item.payload == b"poison":
            item.acknowledge()
            raise RuntimeError("a bug in a handler")
        super().put_nowait(item)


def test_an_exception_in_a_handler_never_ends_the_network_thread(
    make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    """paho's thread ends at the first exception in a callback, and is_connected() stays true."""
    device, inbox = make_link(inbox=FaultyInbox())
    expect(inbox, Connected)
    host, host_inbox = make_link("host")
    expect(host_inbox, Connected)
    device.subscribe("t/+")
    wait_until_subscribed(host, inbox, "t/0")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            host.publish("t/1", b"poison")
        wait_until_subscribed(host, inbox, "t/2")
    assert "a bug in a handler" in caplog.text


def take_all(inbox: Inbox, count: int) -> list[str]:
    """Handle messages until ``count`` different ones have come; return what else happened."""
    seen: set[str] = set()
    events: list[str] = []
    while len(seen) < count:
        event = inbox.get(timeout=LIMIT_S)
        if isinstance(event, Received):
            event.acknowledge()
            seen.add(event.topic)
        else:
            events.append(type(event).__name__)
    return events


def fill(make_link: MakeLink, count: int) -> Inbox:
    device, inbox = make_link(inbox=queue.Queue(maxsize=20))
    expect(inbox, Connected)
    host, host_inbox = make_link("host")
    expect(host_inbox, Connected)
    device.subscribe("t/+")
    wait_until_subscribed(host, inbox, "t/0")
    for n in range(count):
        host.publish(f"t/{n}", b"")
    return inbox


def test_a_full_inbox_slows_the_broker_down_and_loses_nothing(make_link: MakeLink) -> None:
    inbox = fill(make_link, 60)
    wait_for(lambda: inbox.qsize() == 12)
    assert take_all(inbox, 60) == []


def test_an_inbox_that_nobody_empties_resets_the_connection_and_loses_nothing(
    make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secateur_agent.link.client.ROOM_LIMIT_S", 0.3)
    inbox = fill(make_link, 60)
    wait_for(lambda: any(isinstance(event, Disconnected) for event in list(inbox.queue)))
    assert take_all(inbox, 60)[:2] == ["Disconnected", "Connected"]


def test_what_waits_for_the_broker_is_bounded(broker: Broker, make_link: MakeLink) -> None:
    """paho's own queue has no limit."""
    broker.kill()
    link, inbox = make_link()
    expect(inbox, Disconnected)
    taken = [link.publish("t/1", bytes(100)) for _ in range(MAX_OUT_MESSAGES + 50)]
    assert taken == [True] * MAX_OUT_MESSAGES + [False] * 50


def test_stop_returns_while_the_broker_is_away(broker: Broker, make_link: MakeLink) -> None:
    broker.kill()
    link, inbox = make_link()
    expect(inbox, Disconnected)
    link.publish("t/1", b"never sent")
    stopper = threading.Thread(target=link.stop)
    stopper.start()
    stopper.join(LIMIT_S)
    assert not stopper.is_alive()


def test_only_one_disconnected_for_many_attempts(broker: Broker, make_link: MakeLink) -> None:
    broker.kill()
    _, inbox = make_link()
    expect(inbox, Disconnected)
    with pytest.raises(queue.Empty):
        inbox.get(timeout=1.5)


CONNACK = bytes([0x20, 0x03, 0x00, 0x00, 0x00])


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([random.Random(seed).randbytes(64) for seed in range(5)], id="noise"),
        pytest.param([CONNACK + bytes([0x30, 0x05, 0x00, 0x09, 0x61, 0x62, 0x00])], id="publish cut short"),
        pytest.param([CONNACK + bytes([0x30, 0x06, 0x00, 0x01, 0xFF, 0x00, 0x41, 0x42])], id="topic is not UTF-8"),
        pytest.param([CONNACK + bytes([0x30, 0x08, 0x00, 0x01, 0x61, 0x04, 0x7F, 0, 0, 0])], id="unknown property"),
        pytest.param([CONNACK + bytes([0x90, 0x01, 0x00])], id="SUBACK cut short"),
        pytest.param([bytes([0x20, 0x00]), b"", bytes([0xFF] * 6)], id="empty CONNACK"),
    ],
)
def test_malformed_packets_never_end_the_network_thread(broker: Broker, make_link: MakeLink, answers: list[bytes]) -> None:
    """Whatever a broken peer answers, the link comes back as soon as there is a broker on that port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        link, inbox = make_link(address=BrokerAddress("127.0.0.1", port))
        link.subscribe("t/1")
        server.settimeout(LIMIT_S)
        for answer in answers:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)
                connection.settimeout(0.2)
                try:
                    while connection.recv(4096):
                        pass
                except OSError:
                    pass
    broker.kill()
    broker.port = port
    broker.start()
    host, host_inbox = make_link("host", address=BrokerAddress("127.0.0.1", port))
    expect(host_inbox, Connected)

    def heard() -> bool:
        host.publish("t/1", b"heard")
        return any(isinstance(event, Received) and event.payload == b"heard" for event in list(inbox.queue))

    wait_for(heard)
    assert link.connected


def test_unreadable_certificates_are_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "ca.pem"
    for content in (None, b"not a certificate"):
        if content is not None:
            bad.write_bytes(content)
        with pytest.raises(LinkError, match=r"ca_file .*ca.pem: .*expected PEM certificates") as caught:
            Link(DEVICE, "boot", BrokerAddress("localhost", 8883, tls=True), queue.Queue(), ca_file=bad)
        assert "\n" not in str(caught.value)


def test_the_device_must_be_an_id() -> None:
    with pytest.raises(topics.TopicError, match="id 'a/b'"):
        Link("a/b", "boot", BrokerAddress("localhost"), queue.Queue())
