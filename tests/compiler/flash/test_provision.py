"""A payload that the setup program takes, and a configuration that the agent takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomllib

from secateur.flash.environment import Environment
from secateur.flash.payload import Payload, PayloadError
from secateur.flash.provision import Access, make_payload
from secateur.flash.target import Target
from secateur_agent.board.provision import read
from secateur_agent.config import check_config
from secateur_profiles import load

ACCESS = Access(broker="mqtts://host.example:8883", ca=b"CERTIFICATE", username="cam-1", password='p"w\\#é', token="t0ken")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    archive = tmp_path / "environment.tar.gz"
    archive.write_bytes(b"archive")
    return Environment(archive, "0.1.0-cp311-abc", Target("3.11", "aarch64", "2.36"), "onnxruntime", 7)


def payload(environment: Environment, access: Access = ACCESS, **options: object) -> Payload:
    return make_payload("cam-1", load("raspberry-pi-5"), environment, b"{}", access, **options)  # type: ignore[arg-type]


def configuration(made: Payload) -> dict[str, object]:
    return tomllib.loads(made.files["agent.toml"].read().decode())


def test_the_setup_program_takes_the_description(environment: Environment, tmp_path: Path) -> None:
    made = payload(environment, clock_s=1_764_000_000.9)
    made.write(tmp_path / "payload")
    found = read(tmp_path / "payload")
    assert (found.device, found.release, found.clock_s) == ("cam-1", "0.1.0-cp311-abc", 1_764_000_000)
    assert set(found.files) == set(made.files) - {"provision.json"}
    assert {name for name, file in found.files.items() if file.secret} == {"broker-password", "enrolment-token"}


def test_the_agent_takes_the_configuration(environment: Environment) -> None:
    config = check_config(configuration(payload(environment)), Path("/etc/secateur/agent.toml"))
    assert (config.device, config.profile, config.username) == ("cam-1", "raspberry-pi-5", "cam-1")
    assert config.broker == "mqtts://host.example:8883"
    assert config.ca_file == "/etc/secateur/ca.pem"
    assert config.enrolment_token_file == "/var/lib/secateur/enrolment-token"


def test_secrets_are_in_no_other_file(environment: Environment) -> None:
    made = payload(environment)
    for name, file in made.files.items():
        content = file.read()
        assert file.secret == (b"t0ken" in content or ACCESS.password.encode() in content), name


def test_a_board_without_a_host_is_configured_without_one(environment: Environment) -> None:
    made = payload(environment, Access())
    assert not {"broker", "username", "password_file", "ca_file"} & set(configuration(made))
    assert not [name for name, file in made.files.items() if file.secret]


def test_a_profile_of_ones_own_goes_along(environment: Environment, tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text("x = 1\n")
    made = payload(environment, profile_file=own)
    assert made.files["profile.toml"].read() == b"x = 1\n"
    assert configuration(made)["profile"] == "/etc/secateur/profile.toml"


def test_a_secret_file_is_readable_by_its_owner_alone(environment: Environment, tmp_path: Path) -> None:
    payload(environment).write(tmp_path / "payload")
    assert (tmp_path / "payload/broker-password").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("device", ["", "a b", "../x", "a" * 65, "cam/1"])
def test_an_id_that_is_none_is_refused(environment: Environment, device: str) -> None:
    with pytest.raises(PayloadError, match="use 1 to 64"):
        make_payload(device, load("raspberry-pi-5"), environment, b"{}", ACCESS)


def test_an_environment_of_another_runtime_is_refused(environment: Environment) -> None:
    with pytest.raises(PayloadError, match="runs tflite, the environment is for onnxruntime"):
        make_payload("cam-1", load("android-phone"), environment, b"{}", ACCESS)


def test_numbers_of_the_description_are_whole(environment: Environment) -> None:
    table = json.loads(payload(environment).files["provision.json"].read())
    assert table["files"]["environment.tar.gz"]["size"] == 7
