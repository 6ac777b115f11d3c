"""The commands that talk to a host, against a real one; one test for each group, since a host takes a second to start."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from nacl.signing import SigningKey
from tests.bundle_factory import make_bundle
from tests.scripted_device import HostProcess, ScriptedDevice, eventually

from secateur.bundle.keys import Keys
from secateur.cli import build_app
from secateur.cli.errors import run
from secateur_agent.protocol import topics
from secateur_agent.protocol.envelope import keyid
from secateur_agent.protocol.messages import Event, encode

MakeDevice = Callable[..., ScriptedDevice]


class Cli:
    """Runs commands against one host."""

    def __init__(self, host: HostProcess, capsys: pytest.CaptureFixture[str]) -> None:
        self._host = host
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = run(build_app(), [*arguments, "--state", str(self._host.state)])
        written = self._capsys.readouterr()
        return code, written.out, written.err


@pytest.fixture
def cli(host: HostProcess, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(host, capsys)


def known(host: HostProcess, device: str) -> None:
    with host.client() as client:
        eventually("birth", lambda: [d for d in client.devices() if d["device"] == device and d["profile"]])


def install(device: ScriptedDevice, keys: Keys, end: str) -> threading.Thread:
    """Play an agent that fetches and then commits or rolls back."""

    def play() -> None:
        desired = device.wait("desired shadow", lambda d: d.desired(keys.root.keys("command")))
        device.report(desired.version, install="fetching", download_total=4, download_have=1)
        digest = desired.model.manifest.sha256 if end == "committed" else ""
        device.report(desired.version, install=end, manifest_sha256=digest, fault="" if digest else "golden check failed")

    thread = threading.Thread(target=play)
    thread.start()
    return thread


def test_push_waits_until_the_device_has_committed(
    cli: Cli, host: HostProcess, make_device: MakeDevice, keys: Keys, tmp_path: Path
) -> None:
    pi = make_device("pi")
    known(host, "pi")
    playing = install(pi, keys, "committed")
    code, out, _ = cli("push", str(make_bundle(tmp_path, keys)), "--to", "pi", "--wait", "--timeout", "30s")
    playing.join()
    assert code == 0
    assert out.splitlines()[-1] == "toy is committed on pi"


def test_push_tells_of_a_roll_back(cli: Cli, host: HostProcess, make_device: MakeDevice, keys: Keys, tmp_path: Path) -> None:
    pi = make_device("pi")
    known(host, "pi")
    playing = install(pi, keys, "rolled-back")
    code, _, err = cli("push", str(make_bundle(tmp_path, keys)), "--to", "pi", "--wait", "--timeout", "30s")
    playing.join()
    assert (code, err) == (1, "secateur: pi: rolled back (golden check failed)\n")


def test_devices_pin_policy_and_command(
    cli: Cli, host: HostProcess, make_device: MakeDevice, keys: Keys, tmp_path: Path
) -> None:
    assert "no device has introduced itself" in cli("devices", "list")[1]
    make_device("pi")
    known(host, "pi")
    assert "pi" in cli("devices", "list")[1]
    assert cli("devices", "show", "phone")[2] == "secateur: device 'phone': unknown; known are pi\n"
    assert cli("pin", "pi", "r0-fp32")[0] == 1
    assert cli("push", str(make_bundle(tmp_path, keys)), "--to", "pi")[0] == 0
    assert cli("pin", "pi", "r1-fp32")[0] == 0
    assert cli("pin", "pi", "r8-fp32")[2].startswith("secateur: device pi: its model has no rung")
    assert cli("policy", "pi", "--latency", "5ms", "--horizon", "2h")[0] == 0
    code, out, _ = cli("policy", "pi", "--memory", "90MB", "--json")
    assert code == 0
    assert json.loads(out)["policy"] == {"latency_ms": 5.0, "horizon_s": 7200.0, "memory_mb": 90.0}
    assert cli("policy", "pi", "--latency", "5")[2].startswith("secateur: --latency '5': write a number")
    code, out, _ = cli("command", "pi", "diagnose", "--json")
    assert json.loads(out)["status"] == "sent"
    assert cli("command", "pi", "format-disk")[2].startswith("secateur: command 'format-disk': choose one of")
    shown = json.loads(cli("devices", "show", "pi", "--json")[1])
    assert (shown["desired"]["pin"], shown["desired"]["policy"]["memory_mb"]) == ("r1-fp32", 90.0)
    assert "r1-fp32" in cli("devices", "show", "pi")[1]
    assert "no device has asked" in cli("reprunes")[1]
    assert json.loads(cli("status", "--json")[1])["connected"] is True


def test_a_device_is_forgotten_while_the_controller_runs_and_its_next_key_is_trusted(
    cli: Cli, host: HostProcess, make_device: MakeDevice
) -> None:
    make_device("pi")
    known(host, "pi")
    shown = cli("devices", "show", "pi")[1]
    assert "its key was trusted on first use" in shown
    make_device("pi", key=SigningKey(bytes(32)))
    eventually("refusal", lambda: "signed with another key" in cli("events", "pi")[1])
    assert cli("devices", "forget", "pi")[0] == 0
    assert "not enrolled" in cli("devices", "show", "pi")[1]
    make_device("pi", key=SigningKey(bytes(32)))
    key = keyid(bytes(SigningKey(bytes(32)).verify_key))
    eventually("key", lambda: key in cli("devices", "show", "pi")[1])
    assert json.loads(cli("status", "--json")[1])["enrolment"] == "open"


def test_telemetry_and_events(cli: Cli, host: HostProcess, make_device: MakeDevice) -> None:
    pi = make_device("pi")
    known(host, "pi")
    assert "no samples yet" in cli("telemetry", "pi")[1]
    assert "nothing has happened yet" in cli("events", "pi")[1]
    pi.telemetry([1, 2, 3])
    pi.wait("acknowledgement", lambda d: d.acknowledged() == 3)
    lines = cli("telemetry", "pi", "--json", "--limit", "2")[1].splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [2, 3]
    assert "#3  r0-fp32  0 requests" in cli("telemetry", "pi")[1]
    event = Event(boot="b", kind="decision", wall_s=1e9, text="r1-fp32: battery \x1b[31m low")
    pi.publish(topics.up("pi", "event"), encode(event))
    printed = eventually("event", lambda: "battery" in (text := cli("events", "pi")[1]) and text)
    assert "\x1b" not in printed
