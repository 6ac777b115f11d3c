"""``secateur broker``: the embedded one as before, and a mosquitto's configuration."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.ports import free_port

from secateur.cli import build_app
from secateur.cli.errors import run


def test_without_a_subcommand_the_embedded_broker_runs() -> None:
    command = [sys.executable, "-m", "secateur.cli", "broker", "--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "broker ready on mqtt://127.0.0.1:" in process.stdout.readline()
        process.terminate()
        assert process.wait(30) == 0


def test_config_says_how_to_start_it_and_what_to_give_to_serve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "b"
    assert run(build_app(), ["broker", "config", "-o", str(folder), "--host", "broker.local", "--ip", "192.168.1.10"]) == 0
    printed = capsys.readouterr().out
    assert "mqtts://broker.local:8883" in printed
    assert f"mosquitto -c {folder}/mosquitto.conf" in printed
    assert "/etc/systemd/system/mosquitto.service.d/secateur.conf" in printed
    assert f"--broker mqtts://_controller@localhost:8883 --password-file {folder}/controller-password" in printed
    assert (folder / "controller-password").read_text().strip() not in printed
    assert run(build_app(), ["broker", "config", "-o", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["broker"], found["new_ca"], found["devices"]) == ("mqtts://broker.local:8883", False, [])


def test_devices_are_added_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, password = tmp_path / "b", tmp_path / "broker-password"
    run(build_app(), ["broker", "config", "-o", str(folder)])
    assert run(build_app(), ["broker", "add-device", "pi", "-o", str(folder), "--password-file", str(password)]) == 0
    assert password.stat().st_mode & 0o777 == 0o600
    assert password.read_text().strip() not in capsys.readouterr().out
    assert run(build_app(), ["broker", "add-device", "phone", "-o", str(folder)]) == 0
    assert len(capsys.readouterr().out.strip()) == 43
    assert run(build_app(), ["broker", "remove-device", "pi", "-o", str(folder)]) == 0
    assert "pi can connect no more" in capsys.readouterr().out


def test_a_device_keeps_its_password_if_the_new_one_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "b"
    run(build_app(), ["broker", "config", "-o", str(folder)])
    run(build_app(), ["broker", "add-device", "pi", "-o", str(folder)])
    before = (folder / "passwords").read_bytes()
    nowhere = str(tmp_path / "none" / "x")
    assert run(build_app(), ["broker", "add-device", "pi", "-o", str(folder), "--password-file", nowhere]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert (folder / "passwords").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("config", "-o", "X", "--host", "a b"), "expected a host name"),
        (("config", "-o", "X", "--ip", "broker"), "expected an address"),
        (("config", "-o", "X", "--listen", "everywhere"), "expected an address"),
        (("add-device", "pi", "-o", "X"), "make one with 'secateur broker config -o"),
        (("add-device", "a/b", "-o", "X"), "make one with"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], reason: str
) -> None:
    assert run(build_app(), ["broker", *(str(tmp_path / "b") if each == "X" else each for each in arguments)]) == 1
    written = capsys.readouterr()
    assert reason in written.err
    assert written.err.count("\n") == 1
