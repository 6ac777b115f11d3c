"""The way in by adb, against a SIMULATED adb program: no phone is here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulated_phone import SERIAL, SimulatedPhone

from secateur.flash.adb import AdbPhone, Connected, choose, open_phone, parse_devices
from secateur.flash.errors import FlashError


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[SimulatedPhone]:
    made = SimulatedPhone(tmp_path / "phone")
    try:
        yield made
    finally:
        made.close()


def _open(program: object, serial: str = "") -> AdbPhone:
    async def opened() -> AdbPhone:
        async with open_phone(serial, str(program)) as phone:
            return phone

    return asyncio.run(opened())


def test_what_adb_lists_is_read_without_its_own_messages() -> None:
    text = "* daemon not running; starting now at tcp:5037\n* daemon started successfully\nList of devices attached\n"
    text += "R58M12ABCDE\tdevice\n192.168.1.30:5555\toffline\nemulator-5554\tno permissions (user in plugdev); see [http://x]\n\n"
    assert parse_devices(text) == [
        Connected("R58M12ABCDE", "device"),
        Connected("192.168.1.30:5555", "offline"),
        Connected("emulator-5554", "no permissions (user in plugdev); see [http://x]"),
    ]


@given(st.lists(st.tuples(st.from_regex(r"[A-Za-z0-9.:_-]{1,20}", fullmatch=True), st.sampled_from(["device", "offline"]))))
def test_all_that_are_listed_are_found(phones: list[tuple[str, str]]) -> None:
    text = "List of devices attached\n" + "".join(f"{serial}\t{state}\n" for serial, state in phones)
    assert [(each.serial, each.state) for each in parse_devices(text)] == phones


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    for each in parse_devices(text):
        assert each.serial
        assert each.state


@pytest.mark.parametrize(
    ("phones", "serial", "line"),
    [
        ([], "", "no phone is connected"),
        ([Connected("A", "device"), Connected("B", "offline")], "", "say which with --adb SERIAL: A, B"),
        ([Connected("A", "device")], "C", "C is not connected; there are: A"),
        ([Connected("A", "unauthorized")], "", "unlock it and allow this host"),
        ([Connected("A", "offline")], "A", "plug it in again"),
        ([Connected("A", "no permissions (udev); see x")], "", "see 'adb devices'"),
    ],
)
def test_a_phone_that_cannot_be_meant_or_used_is_one_line(phones: list[Connected], serial: str, line: str) -> None:
    with pytest.raises(FlashError) as caught:
        choose(phones, serial)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ("not-debuggable", "this build of Termux does not let adb in"),
        ("no-termux", "Termux is not installed"),
    ],
)
def test_a_termux_that_adb_cannot_become_is_one_line(simulated: SimulatedPhone, state: str, line: str) -> None:
    """F-Droid's builds are not debuggable (termux/termux-app#4389)."""
    simulated.set(state)
    with pytest.raises(FlashError, match=line):
        _open(simulated.adb)


def test_a_termux_that_was_never_opened_is_one_line(simulated: SimulatedPhone) -> None:
    (simulated.prefix / "bin/sh").unlink()
    with pytest.raises(FlashError, match="open it once"):
        _open(simulated.adb)


def test_no_adb_on_this_host_is_one_line() -> None:
    with pytest.raises(FlashError, match="platform tools"):
        _open("/nowhere/adb")


def test_commands_run_as_termux_with_what_they_are_given(simulated: SimulatedPhone) -> None:
    phone = _open(simulated.adb)
    assert phone.where == SERIAL
    told: list[str] = []
    answer = asyncio.run(phone.run('echo "$HOME"; cat; echo "it\'s wrong" >&2; exit 7', b"given\n", say=told.append))
    assert (answer.code, answer.complaint) == (7, "it's wrong")
    assert answer.out.splitlines() == [str(simulated.home), "given"] == told


def test_a_file_arrives_whole_and_for_the_app_alone(simulated: SimulatedPhone, tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "large").write_bytes(content)
    phone, sent = _open(simulated.adb), list[int]()
    for name, source in (("one", content), ("two", tmp_path / "large")):
        asyncio.run(phone.upload(f"{simulated.home}/a {name}", source, sent.append))
        assert (simulated.home / f"a {name}").read_bytes() == content
        assert (simulated.home / f"a {name}").stat().st_mode & 0o777 == 0o600
    assert sum(sent) == 2 * len(content)


def test_a_file_that_cannot_be_written_is_one_line(simulated: SimulatedPhone) -> None:
    phone = _open(simulated.adb)
    with pytest.raises(FlashError, match="could not be written"):
        asyncio.run(phone.upload(f"{simulated.home}/nowhere/file", b"x", lambda _: None))


def test_a_phone_that_does_not_answer_is_one_line(simulated: SimulatedPhone) -> None:
    phone = _open(simulated.adb)
    with pytest.raises(FlashError, match="no answer in 1 s"):
        asyncio.run(phone.run("exec sleep 30", limit_s=1.0))
