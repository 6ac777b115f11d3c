"""Phones, against a SIMULATED one (`simulated_phone`): no Android and no phone is here.

Real: sshd, sh, proot, the setup program. Simulated: Termux's and Android's own programs. The agent is a stand-in.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.simulated_phone import SECRETS, SERIAL, SimulatedPhone, alive, standing_in

from secateur.flash import termux
from secateur.flash.adb import open_phone
from secateur.flash.errors import FlashError
from secateur.flash.payload import Payload
from secateur.flash.phone import Phone
from secateur.flash.ssh_address import Address, Login
from secateur.flash.target import Target
from secateur.flash.termux_ssh import TermuxSsh

Way = Callable[[], AbstractAsyncContextManager[Phone]]


@pytest.fixture
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedPhone]:
    monkeypatch.setattr(termux, "STEADY_S", 1.5)  # the stand-in ends at once, or never
    made = SimulatedPhone(tmp_path / "phone")
    try:
        made.start_sshd()
        yield made
    finally:
        made.close()


@pytest.fixture(params=["ssh", "adb"])
def way(request: pytest.FixtureRequest, simulated: SimulatedPhone) -> Way:
    """Both ways in, one after the other."""
    return _by_ssh(simulated) if request.param == "ssh" else lambda: open_phone(program=str(simulated.adb))


def _by_ssh(simulated: SimulatedPhone) -> Way:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Phone]:
        login = Login(key_file=simulated.key, known_hosts=simulated.known_hosts)
        async with TermuxSsh(Address("127.0.0.1", "root", simulated.port), login) as phone:
            yield phone

    return opened


def _on(way: Way, do: Callable[[Phone], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        async with way() as phone:
            return await do(phone)

    return asyncio.run(run())


def _flash(way: Way, release: str, ends: bool = False) -> tuple[termux.Flashed, list[str]]:
    told: list[str] = []

    def payload_for(device: str, target: Target, same: bool) -> Payload:
        told.append(f"same={same}")
        return standing_in(device, target, release, ends)

    return _on(way, lambda phone: termux.flash_phone(phone, "phone-1", payload_for, told.append)), told


@pytest.mark.slow
def test_a_bare_phone_becomes_a_device_is_upgraded_returns_and_is_cleaned(way: Way, simulated: SimulatedPhone) -> None:
    done, told = _flash(way, "one")
    assert done.release == "one"
    assert any("installing Debian" in line for line in told)
    assert any("Termux:Boot is not installed" in line for line in told)
    assert any("battery optimisation" in line for line in told)
    assert (simulated.debian / "var/lib/secateur/enrolment-token").read_text().strip() == SECRETS[1]
    assert "agent one runs" in simulated.log()
    assert "termux-wake-lock" in simulated.calls()
    assert not any(secret in simulated.calls() for secret in SECRETS)
    assert not [name for name in simulated.files() if "payload" in name]
    assert (simulated.home / ".termux/boot/secateur").stat().st_mode & 0o777 == 0o700
    first, runner = simulated.number("agent"), simulated.number("runner")
    assert alive(first)
    assert alive(runner)

    again, told = _flash(way, "one")
    assert "same=True" in told
    assert again.sent_bytes < done.sent_bytes
    assert not any("installing Debian" in line for line in told)
    assert not alive(first)
    assert not alive(runner)

    before = simulated.number("agent")
    assert _flash(way, "two")[0].release == "two"
    assert not alive(before)
    assert "agent two runs" in simulated.log()

    assert _on(way, lambda phone: termux.roll_back(phone, told.append)) == "one"
    assert simulated.log().rstrip().endswith("agent one runs")

    last = simulated.number("agent")
    _on(way, lambda phone: termux.remove(phone, told.append))
    assert not alive(last)
    assert simulated.files() == [".termux"]
    assert not (simulated.prefix / "var/lib/proot-distro/containers/debian").exists()
    assert "termux-wake-unlock" in simulated.calls()
    with pytest.raises(FlashError, match="nothing is installed there"):
        _on(way, lambda phone: termux.remove(phone, told.append))


@pytest.mark.slow
def test_a_release_that_does_not_stay_up_is_taken_back_by_the_phone_itself(simulated: SimulatedPhone) -> None:
    way = _by_ssh(simulated)
    _flash(way, "one")
    with pytest.raises(FlashError, match="two did not stay up; one runs again"):
        _flash(way, "two", ends=True)
    assert simulated.log().count("agent two runs") == 3
    assert simulated.log().rstrip().endswith("agent one runs")


def test_a_persons_own_debian_is_cleaned_but_stays(simulated: SimulatedPhone) -> None:
    way = _by_ssh(simulated)
    simulated.install_debian()
    boot = simulated.home / ".termux/boot"
    boot.mkdir(parents=True)
    (boot / "start-sshd").write_text("sshd\n")
    simulated.set("boot-app")
    _, told = _flash(way, "one")
    assert not any("Termux:Boot" in line for line in told)
    assert simulated.left_in_debian()
    _on(way, lambda phone: termux.remove(phone, told.append))
    assert simulated.left_in_debian() == []
    assert simulated.files() == [".termux", ".termux/boot", ".termux/boot/start-sshd"]
    assert (simulated.prefix / "var/lib/proot-distro/containers/debian/rootfs").exists()


def test_python_is_installed_where_debian_has_none(simulated: SimulatedPhone) -> None:
    simulated.install_debian()
    simulated.hide_python()
    done, told = _flash(_by_ssh(simulated), "one")
    assert any("installing python3" in line for line in told)
    assert done.system.startswith(f"{os.uname().machine}, Python 3.")


def _no_proot_distro(simulated: SimulatedPhone) -> None:
    (simulated.prefix / "bin/proot-distro").unlink()


def _no_termux(simulated: SimulatedPhone) -> None:
    (simulated.prefix / "bin/pkg").unlink()


def _32_bit(simulated: SimulatedPhone) -> None:
    simulated.replace("uname", "echo armv8l\n")


def _full(simulated: SimulatedPhone) -> None:
    simulated.replace("df", "echo Filesystem; echo /dev/block/dm-8 1000000 900000 102400 90% /data\n")


def _offline(simulated: SimulatedPhone) -> None:
    simulated.set("offline")


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (_no_termux, "what answers there is not Termux"),
        (_no_proot_distro, "'pkg install proot-distro'"),
        (_32_bit, "needs a 64-bit phone"),
        (_full, "100 MB are free, Debian needs about 600"),
        (_offline, "Debian could not be installed: Error: failed to resolve host name; is the phone online?"),
    ],
)
def test_what_is_missing_is_one_line_and_nothing_is_left_half_done(
    simulated: SimulatedPhone, spoil: Callable[[SimulatedPhone], None], line: str
) -> None:
    spoil(simulated)
    with pytest.raises(FlashError) as caught:
        _flash(_by_ssh(simulated), "one")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert simulated.files() == []
    assert not (simulated.prefix / "var/lib/proot-distro/containers/debian").exists()


def test_a_debian_that_was_cut_off_is_installed_again(simulated: SimulatedPhone) -> None:
    simulated.install_debian()
    made = simulated.home / ".secateur/made"
    made.mkdir(parents=True)
    (made / "debian.part").touch()
    _, told = _flash(_by_ssh(simulated), "one")
    assert any("installing Debian" in line for line in told)
    assert sorted(path.name for path in made.iterdir()) == ["boot-folder", "debian"]


def test_a_payload_that_is_refused_leaves_what_runs(simulated: SimulatedPhone) -> None:
    way = _by_ssh(simulated)
    _flash(way, "one")
    agent = simulated.number("agent")

    def damaged(device: str, target: Target, same: bool) -> Payload:
        return standing_in(device, Target("3.9", target.machine, target.glibc), "two")

    with pytest.raises(FlashError, match="the payload is for Python"):
        _on(way, lambda phone: termux.flash_phone(phone, "phone-1", damaged, lambda _: None))
    assert alive(agent)
    assert simulated.number("agent") == agent
    assert not [name for name in simulated.files() if "payload" in name]


def test_a_phone_without_an_ssh_server_is_told_how_to_start_one() -> None:
    phone = TermuxSsh(Address("127.0.0.1", "", 1), Login())
    with pytest.raises(FlashError, match="'pkg install openssh', 'passwd', 'sshd'"):
        asyncio.run(phone.__aenter__())
    assert TermuxSsh(Address("phone"), Login()).where == "phone:8022"


def test_adb_is_told_which_phone_by_its_serial(simulated: SimulatedPhone) -> None:
    (simulated.folder / "devices").write_text(f"{SERIAL}\tdevice\nOTHER\tdevice\n")
    by_serial: Way = lambda: open_phone(SERIAL, str(simulated.adb))  # noqa: E731
    assert _on(by_serial, lambda phone: phone.run('echo "$HOME"')).out == str(simulated.home)
