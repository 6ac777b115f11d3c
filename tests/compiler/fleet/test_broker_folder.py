"""The folder of a mosquitto: what is kept, what is made anew, and what is refused."""

from __future__ import annotations

import ipaddress
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from secateur.fleet.broker_folder import BrokerFolder, BrokerFolderError, configure
from secateur.fleet.certificates import CertificateError
from secateur.fleet.mosquitto_conf import CONTROLLER, ConfError
from secateur.fleet.mosquitto_passwords import PasswordFileError, matches, parse_passwords
from secateur_agent.link import BrokerAddress
from secateur_agent.protocol.topics import TopicError, checked_id


@pytest.fixture
def folder(tmp_path: Path) -> BrokerFolder:
    return configure(tmp_path / "b", ["broker.local"], ["192.168.1.10"]).folder


def hashes(folder: BrokerFolder) -> dict[str, str]:
    return parse_passwords((folder.path / "passwords").read_bytes(), "passwords")


def test_a_second_run_keeps_ca_passwords_and_what_was_asked_for(folder: BrokerFolder) -> None:
    password = folder.add_device("pi")
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    done = configure(folder.path)
    assert (done.new_ca, done.new_server, done.told) == (False, False, False)
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before
    assert matches(password, hashes(done.folder)["pi"])
    assert done.folder.url == "mqtts://broker.local:8883"


def test_other_names_and_another_port_change_only_what_they_must(folder: BrokerFolder) -> None:
    folder.add_device("pi")
    ca, users = folder.ca_path.read_bytes(), hashes(folder)
    done = configure(folder.path, ["other.local"], port=8884)
    assert (done.new_ca, done.new_server) == (False, True)
    assert (folder.ca_path.read_bytes(), hashes(folder)) == (ca, users)
    assert done.folder.url == "mqtts://other.local:8884"
    assert "listener 8884\n" in (folder.path / "mosquitto.conf").read_text()


def test_the_addresses_are_those_that_agent_and_host_take(tmp_path: Path) -> None:
    for names, addresses in ((["broker.local"], []), ([], ["192.168.1.10"]), ([], ["fd00::1"])):
        made = configure(tmp_path / f"b{len(names)}{len(addresses[0]) if addresses else 0}", names, addresses).folder
        address = BrokerAddress.parse(made.url)
        assert (address.host, address.port, address.tls) == ((names or addresses)[0], 8883, True)
        assert BrokerAddress.parse(made.controller_url).username == CONTROLLER


def test_without_a_name_devices_reach_it_by_the_name_of_this_machine(tmp_path: Path) -> None:
    assert configure(tmp_path / "b").folder.url.endswith(".local:8883")


def test_no_device_can_be_the_controller(folder: BrokerFolder) -> None:
    with pytest.raises(TopicError):
        checked_id(CONTROLLER)
    with pytest.raises(BrokerFolderError):
        folder.add_device(CONTROLLER)
    with pytest.raises(BrokerFolderError):
        folder.remove_device(CONTROLLER)
    assert folder.devices() == []


def test_a_device_that_is_added_again_has_a_new_password_and_only_that(folder: BrokerFolder) -> None:
    first, second = folder.add_device("pi"), folder.add_device("pi")
    assert first != second
    assert not matches(first, hashes(folder)["pi"])
    assert matches(second, hashes(folder)["pi"])
    assert folder.remove_device("pi")
    assert not folder.remove_device("pi")
    assert list(hashes(folder)) == [CONTROLLER]


def test_secrets_are_for_their_owner_alone(folder: BrokerFolder) -> None:
    folder.add_device("pi")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    for name in ("passwords", "controller-password", "ca.key", "server.key"):
        assert (folder.path / name).stat().st_mode & 0o777 == 0o600, name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write in a folder of somebody else")
def test_what_root_writes_belongs_to_the_owner_of_the_folder(folder: BrokerFolder) -> None:
    """mosquitto runs as the owner, and could not read a password file of root."""
    for path in (folder.path, *folder.path.iterdir()):
        os.chown(path, 1000, 1000)
    folder.add_device("pi")
    configure(folder.path, ["other.local"])
    assert {(path.name, path.stat().st_uid) for path in folder.path.iterdir() if path.stat().st_uid != 1000} == set()
    assert (folder.path / "passwords").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("listen", "address"),
    [("192.168.1.10", "192.168.1.10"), ("fd00::1", "[fd00::1]"), ("0.0.0.0", "localhost"), ("::", "localhost")],
)
def test_a_broker_that_listens_on_one_address_is_reached_there_by_its_host_too(
    tmp_path: Path, listen: str, address: str
) -> None:
    made = configure(tmp_path / "b", ["broker.local"], listen=listen).folder
    assert made.controller_url == f"mqtts://_controller@{address}:8883"
    names = x509.load_pem_x509_certificate((made.path / "server.pem").read_bytes()).extensions
    held = names.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.IPAddress)
    assert (ipaddress.ip_address(listen) in held) == (address != "localhost")


def test_the_controllers_password_is_made_anew_if_it_is_lost(folder: BrokerFolder) -> None:
    folder.controller_password_path.unlink()
    folder.add_device("pi")
    configure(folder.path)
    assert matches(folder.controller_password_path.read_text().strip(), hashes(folder)[CONTROLLER])
    assert folder.devices() == ["pi"]


@given(st.text(max_size=70))
def test_an_id_that_no_device_can_have_gets_no_password(tmp_path_factory: pytest.TempPathFactory, device: str) -> None:
    path = tmp_path_factory.getbasetemp() / "ids"
    folder = BrokerFolder(path) if path.exists() else configure(path, ["localhost"]).folder
    try:
        checked_id(device)
    except TopicError:
        with pytest.raises(BrokerFolderError, match="device: id"):
            folder.add_device(device)
        assert device not in hashes(folder)


def _add_many(path: Path, prefix: str, results: Any) -> None:
    folder = BrokerFolder(path)
    results.put({f"{prefix}-{number}": folder.add_device(f"{prefix}-{number}") for number in range(20)})


def test_several_processes_add_devices_and_none_is_lost(folder: BrokerFolder) -> None:
    """``secateur flash`` writes many cards at a time."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_add_many, args=(folder.path, name, results)) for name in ("a", "b")]
    for each in processes:
        each.start()
    passwords = results.get(timeout=60) | results.get(timeout=60)
    for each in processes:
        each.join()
    assert folder.devices() == sorted(passwords)
    users = hashes(folder)
    assert all(matches(password, users[device]) for device, password in passwords.items())


def test_a_damaged_password_file_is_told_and_not_written_over(folder: BrokerFolder) -> None:
    """After a power cut on another file system, say: all devices' passwords are in it."""
    (folder.path / "passwords").write_bytes(bytes(300))
    for change in (lambda: folder.add_device("pi"), lambda: configure(folder.path)):
        with pytest.raises(PasswordFileError, match="line 1 is not"):
            change()
    assert (folder.path / "passwords").read_bytes() == bytes(300)


@given(st.binary(max_size=200))
def test_whatever_the_settings_are_it_is_a_folder_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("folder")
    (path / "broker.json").write_bytes(content)
    with pytest.raises(BrokerFolderError) as refused:
        BrokerFolder(path)
    assert "\n" not in str(refused.value)


def test_settings_that_somebody_wrote_cannot_add_a_line_to_the_configuration(folder: BrokerFolder) -> None:
    for text in (
        '{"names":["x\\nallow_anonymous true"]}',
        '{"names":["x"],"listen":"0.0.0.0\\nx"}',
        '{"names":["x"],"port":0}',
        "{}",
    ):
        (folder.path / "broker.json").write_text(text)
        with pytest.raises(BrokerFolderError):
            configure(folder.path)
    assert (folder.path / "mosquitto.conf").read_text().count("allow_anonymous") == 1


def test_what_is_no_brokers_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(BrokerFolderError, match="is not empty"):
        configure(tmp_path)
    with pytest.raises(BrokerFolderError, match="make one with"):
        BrokerFolder(tmp_path)
    with pytest.raises(BrokerFolderError, match="Not a directory"):
        configure(tmp_path / "precious")
    with pytest.raises(ConfError, match="take another"):
        configure(tmp_path / "a b")
    with pytest.raises(CertificateError):
        configure(tmp_path / "c", ["not a name"])
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
