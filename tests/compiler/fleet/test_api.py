from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.bundle_factory import make_bundle
from tests.scripted_device import HostProcess, ScriptedDevice, eventually

from secateur.bundle.keys import Keys, create_keys
from secateur.fleet.client import ClientError, HostClient
from secateur.fleet.host_file import Host, HostFileError, read_host
from secateur_agent.protocol import topics
from secateur_agent.protocol.envelope import open_envelope
from secateur_agent.protocol.messages import Command, CommandStatus, decode, encode

MakeDevice = Callable[..., ScriptedDevice]


def known(client: HostClient, *devices: str) -> None:
    eventually("births", lambda: {d["device"] for d in client.devices() if d["profile"]} >= set(devices))


def call(host: HostProcess, method: str, path: str, **arguments: Any) -> httpx.Response:
    found = read_host(host.state)
    headers = {"authorization": f"Bearer {found.token}"}
    return httpx.request(method, f"{found.url}/api/v1{path}", headers=headers, trust_env=False, **arguments)


def test_without_the_token_nothing_is_told(host: HostProcess) -> None:
    url = read_host(host.state).url
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer \xe9"}):
        encoded = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = httpx.get(f"{url}/api/v1/status", headers=encoded, trust_env=False)
        assert answer.status_code == 401
        assert "token" in answer.json()["error"]


def test_a_push_to_unknown_devices_or_of_bad_bundles_is_one_line_and_changes_nothing(
    host: HostProcess, make_device: MakeDevice, keys: Keys, tmp_path: Path
) -> None:
    good = make_bundle(tmp_path / "good", keys)
    tampered = make_bundle(tmp_path / "tampered", keys)
    base = tampered / "base-fp32.safetensors"
    base.write_bytes(base.read_bytes()[:-1] + b"\x00")
    foreign = make_bundle(tmp_path / "foreign", create_keys(tmp_path / "other-keys"))
    other_profile = make_bundle(tmp_path / "pi4", keys, profile="raspberry-pi-4b")
    pi = make_device("pi")
    with host.client() as client:
        known(client, "pi")
        cases: list[tuple[Path, list[str], dict[str, Any], str]] = [
            (good, ["phone"], {}, "device 'phone': unknown; known are pi"),
            (good, ["pi", "phone"], {}, "device 'phone': unknown"),
            (good, [], {}, "name at least one device"),
            (tmp_path / "nothing", ["pi"], {}, "no readable manifest.json"),
            (tampered, ["pi"], {}, "base-fp32.safetensors: altered"),
            (foreign, ["pi"], {}, "may not sign a bundle here"),
            (other_profile, ["pi"], {}, "compiled for raspberry-pi-4b"),
            (good, ["pi"], {"chunk_kib": 5000}, "chunk size"),
            (good, ["pi"], {"workspace": tmp_path / "nothing"}, "is not a folder"),
        ]
        for bundle, devices, options, expected in cases:
            with pytest.raises(ClientError, match=expected) as caught:
                client.push(bundle, devices, **options)
            assert "\n" not in str(caught.value)
        assert client.device("pi")["desired"] is None
        assert client.push(other_profile, ["pi"], any_profile=True)["versions"] == {"pi": 1}
        desired = pi.wait("desired shadow", lambda d: d.desired(keys.root.keys("command")))
        assert desired.model.name == "toy"


BAD_REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/push", {"content": b"{"}),
    ("POST", "/push", {"json": {"bundle": "relative", "devices": ["pi"]}}),
    ("POST", "/push", {"json": {"bundle": "/b", "devices": ["pi"], "unknown": 1}}),
    ("POST", "/push", {"content": b"[" * 2_000_000}),
    ("POST", "/devices/pi/pin", {"json": {}}),
    ("POST", "/devices/pi/pin", {"json": {"rung": "r0-fp32"}}),
    ("POST", "/devices/pi/policy", {"json": {"latency_ms": -1}}),
    ("POST", "/devices/pi/policy", {"content": b'{"latency_ms": NaN}'}),
    ("POST", "/devices/pi/commands", {"json": {"body": "reboot"}}),
    ("GET", "/devices/pi/telemetry", {"params": {"after": "x"}}),
    ("GET", "/devices/pi/telemetry", {"params": {"limit": 0}}),
    ("GET", "/devices/pi/events", {"params": {"after": -5}}),
]


def test_a_bad_request_is_400_with_one_line(host: HostProcess, make_device: MakeDevice) -> None:
    make_device("pi")
    with host.client() as client:
        known(client, "pi")
    for method, path, arguments in BAD_REQUESTS:
        answer = call(host, method, path, **arguments)
        assert answer.status_code == 400, (path, arguments, answer.text)
        assert answer.json()["error"]
        assert "\n" not in answer.json()["error"]


def test_an_unknown_device_is_404(host: HostProcess) -> None:
    for path in ("", "/telemetry", "/telemetry/stream", "/events", "/commands"):
        assert call(host, "GET", f"/devices/nobody{path}").status_code == 404


def test_pin_and_policy_reach_the_device_and_an_unknown_rung_does_not(
    host: HostProcess, make_device: MakeDevice, keys: Keys, tmp_path: Path
) -> None:
    pi = make_device("pi")
    with host.client() as client:
        known(client, "pi")
        client.push(make_bundle(tmp_path, keys), ["pi"])
        with pytest.raises(ClientError, match="no rung 'r7-fp32'; it has r0-fp32, r1-fp32, r2-fp32"):
            client.pin("pi", "r7-fp32")
        client.pin("pi", "r2-fp32")
        version = client.policy("pi", {"latency_ms": 5.0, "horizon_s": 7200.0})

        def newest(device: ScriptedDevice) -> Any:
            desired = device.desired(keys.root.keys("command"))
            return desired if desired and desired.version == version else None

        desired = pi.wait("newest shadow", newest)
        assert (desired.pin, desired.policy.latency_ms, desired.policy.horizon_s) == ("r2-fp32", 5.0, 7200.0)
        client.pin("pi", "auto")
        assert client.device("pi")["desired"]["pin"] == ""


def test_a_command_goes_out_signed_and_is_cleared_after_its_end(
    host: HostProcess, make_device: MakeDevice, keys: Keys
) -> None:
    pi = make_device("pi")
    with host.client() as client:
        known(client, "pi")
        issued = client.command("pi", "diagnose", 60.0)
        topic = topics.command("pi", issued["id"])
        (message,) = pi.wait("command", lambda d: d.on(topic))
        command = decode(open_envelope("command", message.payload, keys.root.keys("command")), Command)
        assert (command.device, command.body) == ("pi", "diagnose")
        pi.publish(topics.command_status("pi", issued["id"]), encode(CommandStatus(status="done", result={"ok": True})))
        pi.wait("clearing", lambda d: len(d.on(topic)) == 2 and d.on(topic)[1].payload == b"")
        assert client.commands("pi")[0]["result"] == {"ok": True}


def test_the_stream_tells_samples_as_they_are_stored(host: HostProcess, make_device: MakeDevice) -> None:
    pi = make_device("pi")
    with host.client() as client:
        known(client, "pi")
        pi.telemetry([1, 2])
        eventually("samples", lambda: len(client.telemetry("pi")) == 2)
        stream = client.follow("pi", after=0)
        assert [next(stream)["seq"] for _ in range(2)] == [1, 2]
        pi.telemetry([3])
        sample = next(stream)
        assert (sample["seq"], sample["boot"], sample["rung"]) == (3, "boot-1", "r0-fp32")
        stream.close()


def test_a_client_says_when_no_host_is_there(tmp_path: Path) -> None:
    with pytest.raises(HostFileError, match="start one with 'secateur serve'"):
        read_host(tmp_path)
    (tmp_path / "host.json").write_text("[")
    with pytest.raises(HostFileError, match="damaged"):
        read_host(tmp_path)
    with HostClient(Host("http://127.0.0.1:9", "t")) as client, pytest.raises(ClientError, match="still run"):
        client.status()


def test_devices_are_shown_with_what_they_reported(host: HostProcess, make_device: MakeDevice) -> None:
    pi = make_device("pi")
    pi.report(3, install="committed", model="toy", rung="r1-fp32", fault="none to speak of")
    with host.client() as client:
        shown = eventually("report", lambda: next((d for d in client.devices() if d["rung"]), None))
        assert (shown["device"], shown["install"], shown["model"], shown["version"]) == ("pi", "committed", "toy", 3)
        assert json.loads(json.dumps(client.device("pi")))["reported"]["rung"] == "r1-fp32"
