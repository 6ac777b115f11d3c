from __future__ import annotations

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.bundle_factory import make_bundle
from tests.embedded_broker import BrokerProcess
from tests.scripted_device import HostProcess, ScriptedDevice, eventually

from secateur.bundle.keys import Keys
from secateur.fleet.serve import ServeError, listening_socket
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import Answer, AskReprune, Constraints, decode, encode

MakeDevice = Callable[..., ScriptedDevice]


def run_serve(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "secateur.cli", "serve", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_acknowledged_samples_are_stored_exactly_once_when_the_host_is_killed_in_ingest(
    host: HostProcess, make_device: MakeDevice
) -> None:
    pi = make_device("pi")
    sent = 0
    for _ in range(4):
        for _ in range(30):
            pi.telemetry(range(sent + 1, sent + 6), first_held=pi.acknowledged() + 1)
            sent += 5
        host.kill()
        acknowledged = pi.acknowledged()
        host.start()
        # As an outbox does: what was not acknowledged is sent again.
        sent = acknowledged
        pi.telemetry(range(sent + 1, sent + 51), first_held=sent + 1)
        sent += 50
        pi.wait("acknowledgement", lambda d, s=sent: d.acknowledged() >= s)
    with host.client() as client:
        counts = Counter(sample["seq"] for sample in client.telemetry("pi", limit=10_000))
    acknowledged = pi.acknowledged()
    assert all(counts[seq] == 1 for seq in range(1, acknowledged + 1))
    assert max(counts.values()) == 1


def test_a_malformed_message_is_one_event_and_the_host_lives(host: HostProcess, make_device: MakeDevice) -> None:
    pi = make_device("pi")
    for kind in ("telemetry", "state", "birth", "shadow", "event", "ask/x", "cmd/x", "nonsense"):
        pi.publish(f"secateur/v1/d/pi/up/{kind}", b"\x00\xff{")
    pi.telemetry([1, 2])
    pi.wait("acknowledgement", lambda d: d.acknowledged() == 2)
    with host.client() as client:
        assert len([event for event in client.events("pi") if event["kind"] == "refused"]) == 1
    assert host.running


def test_the_host_starts_before_the_broker_and_survives_its_restart(
    broker: BrokerProcess, keys: Keys, tmp_path: Path
) -> None:
    broker.kill()
    host = HostProcess(tmp_path, broker.url).start(connected=False)
    try:
        with host.client() as client:
            assert client.status()["connected"] is False
            broker.start()
            eventually("connection", lambda: client.status()["connected"])
            device = ScriptedDevice(broker.port, "pi")
            device.introduce()
            eventually("birth", lambda: [d for d in client.devices() if d["profile"]])
            client.policy("pi", {"latency_ms": 5.0})
            device.wait("shadow", lambda d: d.on(topics.down("pi", "shadow")))
            device.close()
            broker.kill()
            eventually("disconnection", lambda: not client.status()["connected"])
            broker.start()
            eventually("connection", lambda: client.status()["connected"])
            again = ScriptedDevice(broker.port, "pi")
            desired = again.wait("shadow that the broker forgot", lambda d: d.desired(keys.root.keys("command")))
            assert desired.policy.latency_ms == 5.0
            again.close()
        assert f"{broker.url}: " in host.log()
        assert "Traceback" not in host.log()
    finally:
        host.kill()


def test_sigterm_ends_cleanly_also_while_somebody_follows(host: HostProcess, make_device: MakeDevice) -> None:
    pi = make_device("pi")
    pi.telemetry([1])
    pi.wait("acknowledgement", lambda d: d.acknowledged() == 1)
    with host.client() as client:
        eventually("birth", client.devices)
        stream = client.follow("pi", after=0)
        next(stream)
        assert host.terminate() == 0
        assert next(stream, None) is None
    assert not (host.state / "host.json").exists()
    assert "Traceback" not in host.log()


def test_the_token_and_the_host_file_are_for_their_owner_alone(host: HostProcess) -> None:
    assert {(host.state / name).stat().st_mode & 0o777 for name in ("token", "host.json")} == {0o600}


def test_a_busy_port_is_one_line(tmp_path: Path, keys: Keys) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        listen = f"127.0.0.1:{busy.getsockname()[1]}"
        done = run_serve("--listen", listen, "--state", str(tmp_path / "s"), "--keys", str(keys.folder))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"secateur: --listen {listen}: Address already in use; stop what uses it or take another port"
    ]


def test_a_second_host_on_the_same_state_folder_is_refused(host: HostProcess) -> None:
    done = run_serve("--listen", "127.0.0.1:0", "--state", str(host.state), "--keys", str(host.keys))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"secateur: state folder {host.state}: another 'secateur serve' uses it"]


@pytest.mark.parametrize("listen", ["", "8700", "localhost:1", "127.0.0.1:x", "127.0.0.1:70000"])
def test_a_wrong_listen_address_is_refused(listen: str) -> None:
    with pytest.raises(ServeError, match="expected an IP address and a port"):
        listening_socket(listen)


def test_a_reprune_ask_that_cannot_be_met_is_answered_and_the_host_lives(
    host: HostProcess, make_device: MakeDevice, keys: Keys, tmp_path: Path
) -> None:
    (tmp_path / "workspace").mkdir()  # holds nothing
    pi = make_device("pi")
    with host.client() as client:
        eventually("birth", lambda: [d for d in client.devices() if d["profile"]])
        digest = client.push(make_bundle(tmp_path, keys), ["pi"])["manifest_sha256"]
        ask = AskReprune(manifest_sha256=digest, precision="fp32", constraints=Constraints(latency_ms=1.0), reason="heat")
        pi.publish(topics.ask("pi", "a1"), encode(ask))

        def refused(device: ScriptedDevice) -> Answer | None:
            answers = [decode(message.payload, Answer) for message in device.on(topics.answer("pi", "a1"))]
            return next((answer for answer in answers if answer.status == "refused"), None)

        answer = pi.wait("refusal", refused)
        assert answer.text
        (record,) = eventually("record", lambda: [r for r in client.reprunes() if r["status"] == "refused"])
        assert (record["device"], record["reason"], record["text"]) == ("pi", "heat", answer.text)
        workers = psutil.Process(host.pid).children(recursive=True)
        assert workers
    assert host.terminate() == 0
    eventually("the cutting process's end", lambda: not any(worker.is_running() for worker in workers))
    assert "Traceback" not in host.log()
