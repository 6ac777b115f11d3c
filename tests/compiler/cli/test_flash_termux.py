"""``secateur flash termux``, against a SIMULATED phone (`simulated_phone`): no Android and no phone is here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.simulated_phone import SERIAL, SimulatedPhone
from tests.wheel_factory import make_wheelhouse

from secateur.bundle.keys import create_keys
from secateur.cli import build_app
from secateur.cli.errors import run
from secateur.flash import termux
from secateur.flash.local import local_target


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys, and wheels whose names and versions are real and whose content is not."""
    folder = tmp_path_factory.mktemp("shared")
    create_keys(folder / "keys")
    make_wheelhouse(folder / "wheels", local_target())
    return folder


@pytest.fixture
def phone(tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedPhone]:
    """A simulated phone, and its adb on the path."""
    made = SimulatedPhone(tmp_path / "phone")
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
    monkeypatch.setenv("PATH", str(made.adb.parent), prepend=":")
    monkeypatch.setattr(termux, "START_LIMIT_S", 20.0)
    try:
        yield made
    finally:
        made.close()


def _run(shared: Path, *arguments: str) -> int:
    options = ["--profile", "linux-x86-64", "--no-broker", "--keys", str(shared / "keys"), "--state", str(shared / "state")]
    return run(build_app(), ["flash", "termux", *arguments, *options, "--wheelhouse", str(shared / "wheels")])


def _said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that says why."""
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("secateur: ")]
    return line


def test_an_agent_that_cannot_run_is_installed_told_and_removed_without_a_profile(
    phone: SimulatedPhone, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The wheels are empty here, so the real agent ends at once: all before that is real."""
    assert _run(shared, "--adb", "--id", "phone-1") == 1
    assert "phone-1" in (phone.debian / "etc/secateur/agent.toml").read_text()
    line = _said(capsys)
    assert "the agent does not stay up (" in line
    assert "see ~/.secateur/agent.log in Termux" in line
    assert run(build_app(), ["flash", "termux", "--adb", "--remove", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"phone": "phone", "removed": True, "release": ""}
    assert phone.files() == [".termux"]


def test_several_phones_need_a_serial_number(
    phone: SimulatedPhone, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (phone.folder / "devices").write_text(f"{SERIAL}\tdevice\nOTHER\tdevice\n")
    assert _run(shared, "--adb", "--id", "phone-1") == 1
    assert f"say which with --adb SERIAL: {SERIAL}, OTHER" in _said(capsys)
    assert _run(shared, "--adb", "phone-1=THIRD") == 1
    assert "THIRD is not connected" in _said(capsys)
    assert run(build_app(), ["flash", "termux", "--adb", SERIAL, "--rollback"]) == 1
    assert f"{SERIAL}: nothing is installed there" in _said(capsys)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "which phone? give its address, or --adb"),
        (["--adb"], "say the device's id with --id"),
        (["--adb", "--id", "a b"], "say the device's id with --id"),
        (["127.0.0.1"], "say the device's id: ID=127.0.0.1"),
        (["phone-1=127.0.0.1", "--id", "phone-2"], "the phone is named phone-1 already"),
        (["phone-1=127.0.0.1:1"], "no SSH server answers there; in Termux on the phone: 'pkg install openssh'"),
        (["--rollback", "--remove"], "give one of them"),
        (["phone-1=ssh://x"], "write it as host, user@host or user@host:port"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    shared: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert _run(shared, *arguments) == 1
    assert line in _said(capsys)


def test_a_phone_of_another_machine_than_its_profile_is_refused_before_anything_is_sent(
    phone: SimulatedPhone, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The profile is android-phone unless another one is given, and this machine is none."""
    options = ["--no-broker", "--keys", str(shared / "keys"), "--state", str(shared / "state")]
    phone.install_debian()
    assert run(build_app(), ["flash", "termux", "--adb", "phone-1=" + SERIAL, *options]) == 1
    assert "profile android-phone is for aarch64" in _said(capsys)
    assert phone.files() == []


def test_the_group_names_it_and_its_manual_says_what_the_phone_needs(capsys: pytest.CaptureFixture[str]) -> None:
    run(build_app(), ["flash", "--help"])
    assert "secateur flash termux" in capsys.readouterr().out
    run(build_app(), ["flash", "termux", "--help"])
    assert "pkg install proot-distro openssh" in " ".join(capsys.readouterr().out.split())
