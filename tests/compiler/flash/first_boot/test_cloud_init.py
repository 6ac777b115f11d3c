from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.compiler.boot_images import (
    DEBIAN,
    META_DATA,
    NETWORK_CONFIG,
    TRIXIE,
    TRIXIE_CMDLINE,
    USER_DATA,
    boot_of,
    fsck,
    make_image,
    payload,
)

from secateur.flash.errors import FlashError
from secateur.flash.fat import FatPartition
from secateur.flash.first_boot.customise import customise
from secateur.flash.first_boot.registry import recognise
from secateur.flash.payload import SETUP_PROGRAM
from secateur.flash.settings import Settings, User, Wifi
from secateur.flash.target import Target

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB7yF4z0Jr2dVQkq0mYh7gkqB4oPzT0m5o1v1Yb9pXcd ops"
HASH = "$6$saltsalt$" + "h" * 86
WIFI = Wifi('Caf\u00e9 "2" \\ \U0001f431', "ab" * 32, "DE")


def _customised(image: Path, settings: Settings) -> FatPartition:
    boot = boot_of(image)
    mechanism, found = recognise(boot, "here")
    customise(boot, mechanism, found, payload(settings.device), settings)
    assert fsck(image) == ""
    return boot


def _table(text: str) -> dict[str, Any]:
    """Read the YAML that is written: a key a line, each value JSON."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {key: json.loads(value) for key, value in (line.split(": ", 1) for line in lines)}


def test_trixie_is_recognised_with_what_its_environment_must_be(tmp_path: Path) -> None:
    mechanism, found = recognise(boot_of(make_image(tmp_path / "x.img", TRIXIE)), "here")
    assert mechanism.name == "cloud-init"
    assert found.reason == "user-data and meta-data beside cmdline.txt"
    assert found.system == "Raspberry Pi OS Trixie of 2025-12-04"
    assert found.target == Target("3.13", "aarch64", "2.41")


def test_settings_and_setup_program_go_into_user_data(tmp_path: Path) -> None:
    boot = _customised(make_image(tmp_path / "x.img", TRIXIE), Settings("Cam_003", WIFI, User("ops", (KEY,), HASH)))
    text = boot.text("user-data")
    assert text.startswith("#cloud-config\n")
    table = _table(text)
    assert table["hostname"] == "cam-003"
    assert table["user"] == {
        "name": "ops",
        "shell": "/bin/bash",
        "lock_passwd": False,
        "passwd": HASH,
        "sudo": None,
        "ssh_authorized_keys": [KEY],
    }
    assert table["ssh_pwauth"] is False
    assert ["systemctl", "enable", "--now", "ssh"] in table["runcmd"]
    assert f"python3 $at/secateur/{SETUP_PROGRAM} install $at/secateur" in table["runcmd"][-1][2]
    assert boot.text("user-data.before-secateur") == USER_DATA
    assert boot.text("meta-data.before-secateur") == META_DATA


def test_a_first_boot_that_was_cut_off_is_run_again_until_setup_has_ended(tmp_path: Path) -> None:
    """cloud-init marks a module as run before it runs it, and would leave it out after a power cut (its FileSemaphores)."""
    table = _table(_customised(make_image(tmp_path / "x.img", TRIXIE), Settings("pi-kitchen")).text("user-data"))
    state = tmp_path / "cloud"
    semaphores = [state / "instance/sem" / name for name in ("config_runcmd", "config_scripts_user", "config_users_groups")]
    (state / "instance/sem").mkdir(parents=True)
    (state / "data").mkdir()

    def run(command: list[str], setup: str) -> int:
        text = command[2].replace("/var/lib/cloud", str(state))
        return subprocess.run(["sh", "-c", re.sub(r"^\(.*?\); status", f"({setup}); status", text)], check=False).returncode

    def left_after_a_start() -> list[Path]:
        for each in semaphores:
            each.touch()
        assert run(table["bootcmd"][0], "") == 0
        return [each for each in semaphores if each.exists()]

    assert left_after_a_start() == []
    assert run(table["runcmd"][-1], "kill -9 $$") == -9
    assert left_after_a_start() == [], "cut off in the middle: all of it is run again"
    assert run(table["runcmd"][-1], "exit 3") == 3
    assert left_after_a_start() == semaphores, "setup has ended, well or badly"


def test_notes_that_a_power_cut_left_empty_are_removed_before_cloud_init_fails_over_them(tmp_path: Path) -> None:
    """cloud-init 22.4 reads `set-hostname` as JSON, and ends its stage if the file is empty: before user data."""
    boot = _customised(make_image(tmp_path / "x.img", TRIXIE), Settings("pi-kitchen"))
    data = tmp_path / "cloud/data"
    data.mkdir(parents=True)
    (data / "set-hostname").touch()
    (data / "instance-id").write_text("pi")
    command = _table(boot.text("user-data"))["bootcmd"][0][2].replace("/var/lib/cloud", str(tmp_path / "cloud"))
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0
    assert [each.name for each in data.iterdir()] == ["instance-id"]
    assert set(_table(boot.text("meta-data"))) == {"instance-id", "dsmode"}, "a name is set before user data are applied"


def test_cloud_init_starts_from_nothing_until_setup_has_ended(tmp_path: Path) -> None:
    """cloud-init 25.1 reads `network-config.json` before all else, and ends its stage if a power cut left it empty."""
    boot = _customised(make_image(tmp_path / "x.img", TRIXIE), Settings("pi-kitchen"))
    (word,) = (word for word in boot.text("cmdline.txt").split() if word.startswith("systemd.set_credential_binary="))
    name, _, text = word.partition("=")[2].rpartition(":")
    assert name == "systemd.unit-dropin.cloud-init-local.service"
    section, line = base64.b64decode(text).decode().splitlines()
    assert section == "[Service]"
    state = tmp_path / "cloud"
    command = shlex.split(line.partition("=-")[2].replace("/var/lib/cloud", str(state)))

    def left_after_a_start(*files: str) -> list[str]:
        for file in files:
            (state / file).parent.mkdir(parents=True, exist_ok=True)
            (state / file).touch()
        subprocess.run(command, check=False, cwd=tmp_path)
        return sorted(str(path.relative_to(state)) for path in state.rglob("*") if path.is_file())

    made = ["data/instance-id", "instances/pi/obj.pkl", "instances/pi/sem/config_runcmd", "sem/config_scripts_per_once.once"]
    elsewhere = tmp_path / "data/kept"
    elsewhere.parent.mkdir()
    elsewhere.touch()
    assert left_after_a_start() == [], "there is nothing yet at the very first start"
    assert elsewhere.exists()
    assert left_after_a_start(*made, "seed/nocloud/user-data") == ["seed/nocloud/user-data"]
    (state / "instance").symlink_to("instances/pi")
    ended = "instances/pi/secateur-setup-ended"
    assert left_after_a_start(*made, ended) == sorted([*made, ended, "seed/nocloud/user-data"])


def test_the_instance_is_new_and_the_same_in_meta_data_and_kernel_line(tmp_path: Path) -> None:
    image = make_image(tmp_path / "x.img", TRIXIE)
    seen = set()
    for _ in range(2):
        boot = _customised(image, Settings("pi-kitchen"))
        meta = _table(boot.text("meta-data"))
        words = boot.text("cmdline.txt").removeprefix(f"{TRIXIE_CMDLINE.rstrip()} ").split()
        assert words[:-1] == ["psi=1", "cgroup_enable=memory", f"ds=nocloud;i={meta['instance-id']}"]
        assert words[-1].startswith("systemd.set_credential_binary=")
        assert boot.text("cmdline.txt").count("\n") == 1
        assert meta["dsmode"] == "local", "else it waits for a network"
        seen.add(meta["instance-id"])
    assert len(seen) == 2, "cloud-init does nothing for an instance that it has seen"


def test_a_network_is_written_with_its_key_and_the_cable_stays(tmp_path: Path) -> None:
    boot = _customised(make_image(tmp_path / "x.img", TRIXIE), Settings("pi-kitchen", WIFI))
    network = _table(boot.text("network-config"))["network"]
    assert network["ethernets"]["eth0"]["dhcp4"] is True
    assert network["wifis"]["wlan0"]["access-points"] == {WIFI.ssid: {"password": "ab" * 32}}
    assert network["wifis"]["wlan0"]["regulatory-domain"] == "DE"
    assert "cfg80211.ieee80211_regdom=DE" in boot.text("cmdline.txt").split()
    assert "\\u" not in boot.text("network-config"), "YAML joins no surrogates"


def test_an_open_network_says_that_it_is_one(tmp_path: Path) -> None:
    boot = _customised(make_image(tmp_path / "x.img", TRIXIE), Settings("pi-kitchen", Wifi("guests", "", "DE")))
    points = _table(boot.text("network-config"))["network"]["wifis"]["wlan0"]["access-points"]
    assert points == {"guests": {"auth": {"key-management": "none"}}}


def test_without_a_network_the_image_keeps_its_own_configuration(tmp_path: Path) -> None:
    boot = _customised(make_image(tmp_path / "x.img", TRIXIE), Settings("pi-kitchen"))
    assert boot.text("network-config") == NETWORK_CONFIG


def test_user_data_of_another_program_is_not_overwritten_silently(tmp_path: Path) -> None:
    boot = boot_of(make_image(tmp_path / "x.img", {**TRIXIE, "user-data": "#cloud-config\nhostname: theirs\n"}))
    with pytest.raises(FlashError, match=r"user-data already holds settings \('hostname: theirs'\)"):
        recognise(boot, "card")


def test_a_debian_image_gets_the_label_that_cloud_init_looks_for(tmp_path: Path) -> None:
    image = make_image(tmp_path / "x.img", DEBIAN, table="gpt")
    mechanism, found = recognise(boot_of(image), "here")
    assert mechanism.name == "cloud-init (CIDATA)"
    assert found.target is None
    boot = _customised(image, Settings("gate", None, User("ops", (KEY,))))
    assert boot.label() == "CIDATA"
    table = _table(boot.text("user-data"))
    assert "passwd" not in table["user"]
    assert "sudo" not in table["user"], "who has no password needs sudo without one"
    assert "update-grub" in table["runcmd"][0][2], "its kernel line is not on the boot partition"
    assert "/boot/efi" in table["runcmd"][-1][2]
    assert not boot.has("cmdline.txt")
    again, _ = recognise(boot, "here")
    assert again.name == mechanism.name


def test_wifi_is_refused_where_there_is_no_software_for_it(tmp_path: Path) -> None:
    image = make_image(tmp_path / "x.img", DEBIAN, table="gpt")
    before = image.read_bytes()
    with pytest.raises(FlashError, match="no Wi-Fi software"):
        _customised(image, Settings("gate", WIFI))
    assert image.read_bytes() == before
