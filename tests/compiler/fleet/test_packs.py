"""Packs: signed with their command, sent to the device that asks, removed when the command has ended."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.scripted_device import HostProcess, ScriptedDevice, eventually

from secateur.bundle.keys import Keys
from secateur.fleet.client import ClientError
from secateur_agent.bundle.manifest import TensorSpec
from secateur_agent.profiling.pack import PackHeader, encode_pack, packed_file
from secateur_agent.protocol import topics
from secateur_agent.protocol.envelope import open_envelope, seal
from secateur_agent.protocol.messages import Command, CommandStatus, decode, encode

MakeDevice = Callable[..., ScriptedDevice]


def introduced(host: HostProcess, device: ScriptedDevice, *capabilities: str) -> None:
    birth = seal("device", device.birth(capabilities=capabilities), device.key)
    device.publish(topics.up(device.device, "birth"), birth, retain=True)
    with host.client() as client:
        eventually("birth", lambda: [d for d in client.devices() if d["device"] == device.device and d["profile"]])


def pack_file(folder: Path) -> Path:
    spec = TensorSpec(name="x", shape=(-1, 4))
    data = bytes(range(256)) * 600
    header = PackHeader(measurement="m", runtime="onnxruntime", precision="fp32", files=(packed_file(data, [spec], [spec]),))
    path = folder / "pack"
    path.write_bytes(encode_pack(header, [data]))
    return path


def test_a_pack_is_signed_sent_on_demand_and_removed(
    host: HostProcess, make_device: MakeDevice, keys: Keys, tmp_path: Path
) -> None:
    path, pi, other = pack_file(tmp_path), make_device("pi", introduce=False), make_device("other")
    introduced(host, pi, "time-pack")
    with host.client() as client:
        sent = client.measure("pi", path, 60.0)
        data = path.read_bytes()
        path.unlink()  # the controller has its own
        topic = topics.command("pi", sent["id"])
        (message, *_) = pi.wait("command", lambda d: d.on(topic))
        command = decode(open_envelope("command", message.payload, keys.root.keys("command")), Command)
        assert command.body == "measure"
        ref = command.pack
        assert ref is not None
        assert (ref.sha256, ref.size) == (hashlib.sha256(data).hexdigest(), len(data))
        pi.ask_chunks(ref.sha256, list(range(ref.chunk_count)))
        pieces = [
            pi.wait("chunk", lambda d, i=i: d.on(topics.repair("pi", ref.sha256, i)))[0].payload
            for i in range(ref.chunk_count)
        ]
        assert b"".join(pieces) == data
        other.ask_chunks(ref.sha256, [0])
        assert "does not name" in eventually("refusal", lambda: client.events("other"))[0]["text"]
        piece = CommandStatus(status="executing", text="1 of 2", result={"total": 2})
        pi.publish(topics.command_status("pi", sent["id"]), encode(piece), retain=True)
        assert eventually("piece", lambda: client.command_state("pi", sent["id"])["result"]) == {"total": 2}
        assert list((host.state / "packs").iterdir())
        pi.publish(topics.command_status("pi", sent["id"]), encode(CommandStatus(status="done")), retain=True)
        eventually("end", lambda: client.command_state("pi", sent["id"])["status"] == "done")
        eventually("removal", lambda: not list((host.state / "packs").iterdir()))


def test_what_cannot_be_sent_is_one_line(host: HostProcess, make_device: MakeDevice, tmp_path: Path) -> None:
    path, old = pack_file(tmp_path), make_device("old", introduce=False)
    introduced(host, old, "measure")
    pi = make_device("pi", introduce=False)
    introduced(host, pi, "time-pack")
    (tmp_path / "bad").write_bytes(b"no pack")
    with host.client() as client:
        for device, file, expiry_s, why in (
            ("old", path, 60.0, "its agent is too old"),
            ("pi", tmp_path / "missing", 60.0, "No such file"),
            ("pi", tmp_path / "bad", 60.0, "does not begin as a pack does"),
            ("pi", path, 0.0, "command expiry"),
            ("ghost", path, 60.0, "unknown"),
        ):
            with pytest.raises(ClientError, match=why) as caught:
                client.measure(device, file, expiry_s)
            assert len(str(caught.value).splitlines()) == 1
        with pytest.raises(ClientError, match="none of this id"):
            client.command_state("pi", "nothing")
