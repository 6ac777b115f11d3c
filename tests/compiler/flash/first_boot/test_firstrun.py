from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.compiler.boot_images import (
    BOOKWORM,
    BOOKWORM_32_BIT,
    BOOKWORM_CMDLINE,
    BULLSEYE,
    CONFIG,
    boot_of,
    fsck,
    make_image,
    payload,
)

from secateur.flash.errors import FlashError
from secateur.flash.first_boot.customise import customise
from secateur.flash.first_boot.registry import recognise
from secateur.flash.first_boot.script import first_run
from secateur.flash.payload import SETUP_PROGRAM
from secateur.flash.settings import Settings, User, Wifi
from secateur.flash.target import Target, TargetError

OURS = (
    " psi=1 cgroup_enable=memory systemd.run=/boot/firmware/firstrun.sh systemd.run_success_action=reboot "
    "systemd.run_failure_action=none systemd.unit=kernel-command-line.target\n"
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB7yF4z0Jr2dVQkq0mYh7gkqB4oPzT0m5o1v1Yb9pXcd it's mine"
SETTINGS = Settings(
    "Cam_003",
    Wifi('Joe\'s "net"', "ab" * 32, "DE"),
    User("ops", (KEY,), "$6$saltsalt$" + "h" * 86),
    ("dtparam=i2c_arm=on",),
)


def _customised(image: Path, settings: Settings = SETTINGS) -> None:
    boot = boot_of(image)
    mechanism, found = recognise(boot, "here")
    customise(boot, mechanism, found, payload(settings.device), settings)


def test_bookworm_is_recognised_with_what_its_environment_must_be(tmp_path: Path) -> None:
    mechanism, found = recognise(boot_of(make_image(tmp_path / "x.img", BOOKWORM)), "here")
    assert mechanism.name == "firstrun.sh"
    assert found.reason == "cmdline.txt and config.txt without user-data, mounted at /boot/firmware"
    assert found.system == "Raspberry Pi OS Bookworm of 2024-07-04"
    assert found.target == Target("3.11", "aarch64", "2.36")


def test_the_script_and_the_words_that_run_it_are_written(tmp_path: Path) -> None:
    image = make_image(tmp_path / "x.img", BOOKWORM)
    _customised(image)
    boot = boot_of(image)
    assert boot.text("cmdline.txt") == BOOKWORM_CMDLINE.rstrip() + OURS
    assert boot.text("cmdline.txt.before-secateur") == BOOKWORM_CMDLINE
    assert boot.text("config.txt") == CONFIG + "[all]\ndtparam=i2c_arm=on\n"
    script = boot.text("firstrun.sh")
    assert "step set_hostname 'cam-003'" in script
    assert "step set_user 'ops' '$6$saltsalt$" in script
    assert "it'\"'\"'s mine'" in script
    assert f"step set_wlan 'Joe'\"'\"'s \"net\"' '{'ab' * 32}' 'DE'" in script
    assert boot.read("secateur/environment.tar.gz") == payload().files["environment.tar.gz"].read()
    assert fsck(image) == ""


def test_the_script_is_a_script_for_the_shell_of_debian(tmp_path: Path) -> None:
    image = make_image(tmp_path / "x.img", BOOKWORM)
    _customised(image)
    done = subprocess.run(["sh", "-n"], input=boot_of(image).read("firstrun.sh"), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_flashing_once_more_changes_the_settings_and_keeps_the_first_copy(tmp_path: Path) -> None:
    image = make_image(tmp_path / "x.img", BOOKWORM)
    _customised(image)
    _customised(image, Settings("other"))
    boot = boot_of(image)
    assert boot.text("cmdline.txt") == BOOKWORM_CMDLINE.rstrip() + OURS
    assert boot.text("cmdline.txt.before-secateur") == BOOKWORM_CMDLINE
    assert "'other'" in boot.text("firstrun.sh")
    assert "set_wlan '" not in boot.text("firstrun.sh")
    assert not boot.has("firstrun.sh.before-secateur"), "it would hold the key of the network of before"


@pytest.mark.parametrize(
    "present", [{"firstrun.sh": "#!/bin/bash\n"}, {"cmdline.txt": "quiet systemd.run=/boot/firstrun.sh\n"}]
)
def test_the_settings_of_another_program_are_not_overwritten_silently(tmp_path: Path, present: dict[str, str]) -> None:
    boot = boot_of(make_image(tmp_path / "x.img", {**BOOKWORM, **present}))
    with pytest.raises(FlashError, match="another program has prepared it"):
        recognise(boot, "card")


def test_systems_that_the_agent_cannot_run_on_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"image x: Python 3.9 is too old"):
        recognise(boot_of(make_image(tmp_path / "old.img", BULLSEYE)), "image x")
    with pytest.raises(TargetError, match="image x: machine 'armv7l' has no wheels"):
        recognise(boot_of(make_image(tmp_path / "narrow.img", BOOKWORM_32_BIT)), "image x")


def test_an_image_of_the_old_layout_gets_the_path_that_it_has(tmp_path: Path) -> None:
    image = make_image(tmp_path / "x.img", {**BULLSEYE, "issue.txt": "a system of my own\n"})
    _customised(image)
    assert " systemd.run=/boot/firstrun.sh " in boot_of(image).text("cmdline.txt")
    assert "boot=/boot\n" in boot_of(image).text("firstrun.sh")


class _Board:
    """A folder for a boot partition; setup program and systemctl only note that they ran. The script is the real one."""

    def __init__(self, folder: Path, commands: tuple[str, ...] = (), setup: str = "") -> None:
        self.boot, self._bin = folder / "boot", folder / "bin"
        (self.boot / "secateur").mkdir(parents=True)
        self._bin.mkdir()
        (self.boot / "cmdline.txt").write_text(BOOKWORM_CMDLINE.rstrip() + OURS)
        (self.boot / "firstrun.sh").write_bytes(first_run(str(self.boot), list(commands)))
        (self.boot / "secateur" / SETUP_PROGRAM).write_text(
            setup or "import pathlib, sys\npathlib.Path(sys.argv[2], 'ran').write_text(' '.join(sys.argv[1:]))\n"
        )
        (self._bin / "systemctl").write_text(f'#!/bin/sh\necho "$@" >{folder}/systemctl\n')
        (self._bin / "systemctl").chmod(0o755)
        self.systemctl = folder / "systemctl"

    def run(self) -> int:
        path = f"{self._bin}:{os.environ['PATH']}"
        return subprocess.run(["sh", str(self.boot / "firstrun.sh")], env={"PATH": path}, check=False, timeout=60).returncode

    @property
    def log(self) -> str:
        return (self.boot / "secateur" / "first-boot.log").read_text()


def test_the_script_runs_the_setup_program_and_undoes_its_own_additions(tmp_path: Path) -> None:
    board = _Board(tmp_path, ("true 'a setting'",))
    assert board.run() == 0
    assert (board.boot / "secateur" / "ran").read_text() == f"install {board.boot}/secateur"
    assert (board.boot / "cmdline.txt").read_text() == BOOKWORM_CMDLINE.rstrip() + " psi=1 cgroup_enable=memory\n"
    assert not (board.boot / "firstrun.sh").exists()
    assert "ok: true a setting" in board.log
    assert not board.systemctl.exists()


def test_what_fails_is_told_on_the_card_and_the_board_starts_normally(tmp_path: Path) -> None:
    board = _Board(tmp_path, ("false 'a setting'",), setup="raise SystemExit(1)\n")
    assert board.run() == 0
    assert "FAILED: false a setting" in board.log
    assert "FAILED: timeout" in board.log
    assert "systemd.run" not in (board.boot / "cmdline.txt").read_text()


def test_a_power_cut_in_the_middle_runs_the_script_again(tmp_path: Path) -> None:
    board = _Board(tmp_path, ("kill -9 $$",))
    assert board.run() == -9
    assert (board.boot / "firstrun.sh").exists()
    assert "systemd.run=/boot/firmware/firstrun.sh" in (board.boot / "cmdline.txt").read_text()


def test_a_card_that_cannot_be_written_does_not_restart_the_board_for_ever(tmp_path: Path) -> None:
    board = _Board(tmp_path)
    (board.boot / "cmdline.txt").unlink()
    assert board.run() == 1
    assert board.systemctl.read_text() == "--no-block start multi-user.target\n"
    assert "cannot be written" in board.log
