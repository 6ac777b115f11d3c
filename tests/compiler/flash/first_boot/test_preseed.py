from __future__ import annotations

from pathlib import Path

import pytest
import tomllib
from tests.compiler.boot_images import BOOKWORM, TRIXIE_CMDLINE, boot_of, make_image, payload

from secateur.flash.errors import FlashError
from secateur.flash.first_boot.customise import customise
from secateur.flash.first_boot.registry import recognise
from secateur.flash.settings import Settings, User, Wifi

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB7yF4z0Jr2dVQkq0mYh7gkqB4oPzT0m5o1v1Yb9pXcd ops"
HASH = "$6$saltsalt$" + "h" * 86
EXISTING = 'config_version = "1.1"\n[locale]\ntimezone = "Europe/Berlin"\n[wlan]\nkey_mgmt = "wpa-psk"\n'
SETTINGS = Settings("pi-kitchen", Wifi('a "b" \\c', "ab" * 32, "DE"), User("ops", (KEY,), HASH))


def test_settings_are_merged_into_the_file_that_is_there(tmp_path: Path) -> None:
    image = make_image(tmp_path / "x.img", {**BOOKWORM, "cmdline.txt": TRIXIE_CMDLINE, "rpi-preseed.toml": EXISTING})
    boot = boot_of(image)
    mechanism, found = recognise(boot, "here")
    assert (mechanism.name, found.reason) == ("preseed", "rpi-preseed.toml beside cmdline.txt")
    customise(boot, mechanism, found, payload(), SETTINGS)
    assert tomllib.loads(boot.text("rpi-preseed.toml")) == {
        "config_version": "1.1",
        "locale": {"timezone": "Europe/Berlin"},
        "system": {"hostname": "pi-kitchen"},
        "user": {"name": "ops", "password": HASH, "password_encrypted": True},
        "ssh": {"enabled": True, "password_authentication": False, "authorized_keys": [KEY]},
        "wlan": {
            "key_mgmt": "wpa-psk",
            "ssid": 'a "b" \\c',
            "hidden": False,
            "country": "DE",
            "password": "ab" * 32,
            "password_encrypted": True,
        },
    }
    assert boot.text("rpi-preseed.toml.before-secateur") == EXISTING


def test_what_the_file_cannot_do_goes_by_systemd(tmp_path: Path) -> None:
    image = make_image(tmp_path / "x.img", {**BOOKWORM, "custom.toml": "config_version = 1\n"})
    boot = boot_of(image)
    mechanism, found = recognise(boot, "here")
    customise(boot, mechanism, found, payload(), Settings("pi-kitchen"))
    assert tomllib.loads(boot.text("custom.toml")) == {"config_version": 1, "system": {"hostname": "pi-kitchen"}}
    assert " systemd.run=/boot/firmware/firstrun.sh " in boot.text("cmdline.txt")
    script = boot.text("firstrun.sh")
    assert "\nstep timeout 1800 python3" in script
    assert "\nstep set_hostname" not in script, "the file does that"


@pytest.mark.parametrize(
    ("text", "why"), [("not toml", "not TOML"), ("loose = 1\n", "outside of a section"), ('x = "\\u0000"', "outside")]
)
def test_a_file_that_its_reader_would_not_take_is_refused(tmp_path: Path, text: str, why: str) -> None:
    boot = boot_of(make_image(tmp_path / "x.img", {**BOOKWORM, "rpi-preseed.toml": text}))
    with pytest.raises(FlashError, match=why):
        recognise(boot, "card")


def test_a_value_that_its_reader_does_not_take_is_not_dropped_silently(tmp_path: Path) -> None:
    boot = boot_of(make_image(tmp_path / "x.img", {**BOOKWORM, "rpi-preseed.toml": "[a]\nb = 1.5\n"}))
    mechanism, found = recognise(boot, "card")
    with pytest.raises(FlashError, match=r"1\.5 is a value that its reader does not take"):
        mechanism.files(boot, found, Settings("pi-kitchen"))
