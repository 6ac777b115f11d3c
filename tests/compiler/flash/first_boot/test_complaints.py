"""What users of Raspberry Pi Imager report as "customisation silently not applied"."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.compiler.boot_images import BOOKWORM, BOOKWORM_CMDLINE, TRIXIE, boot_of, make_image, payload

from secateur.flash import fat
from secateur.flash.errors import FlashError
from secateur.flash.first_boot.customise import customise
from secateur.flash.first_boot.registry import recognise
from secateur.flash.settings import Settings


def _customised(image: Path, device: str = "pi-kitchen") -> set[str]:
    boot = boot_of(image)
    mechanism, found = recognise(boot, "here")
    return {file.name for file in customise(boot, mechanism, found, payload(device), Settings(device))}


def test_the_mechanism_follows_the_image_and_not_a_name_or_a_list(tmp_path: Path) -> None:
    """A new image of the same name had another mechanism: a writer that took the old one for granted wrote ``firstrun.sh``
    into an image that reads ``user-data``, said nothing, and the board came up with none of the settings.

    https://github.com/raspberrypi/rpi-imager/issues/1386
    """
    for files, armed in ((BOOKWORM, "firstrun.sh"), (TRIXIE, "user-data")):
        image = make_image(tmp_path / "raspios.img", files)
        written = _customised(image)
        assert armed in written
        assert ({"firstrun.sh", "user-data"} - {armed}) & written == set()


def test_an_image_from_a_file_is_customised_or_refused_but_never_left_as_it_is(tmp_path: Path) -> None:
    """Settings for an image that is not from an online list were silently left out: only the list told the mechanism.

    https://github.com/raspberrypi/rpi-imager/issues/1330
    https://github.com/raspberrypi/rpi-imager/issues/1293
    """
    image = make_image(tmp_path / "my own build (2).bin", TRIXIE)
    assert {"user-data", "meta-data", "cmdline.txt", "secateur/provision.json"} <= _customised(image)
    nothing = make_image(tmp_path / "2.img", {"config.txt": "kernel=u-boot.bin\n"})
    with pytest.raises(FlashError, match="no known first-boot mechanism"):
        _customised(nothing)


def test_settings_that_did_not_reach_the_medium_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then the card was as if no settings had been written, and the writer had said that all was well. Here a medium
    that loses one write is told: everything is read back by name.

    https://github.com/raspberrypi/rpi-imager/issues/1519
    """
    image = make_image(tmp_path / "x.img", TRIXIE)
    real = fat.FatPartition.write

    def lossy(self: fat.FatPartition, name: str, content: bytes | Path) -> None:
        real(self, name, b"" if name == "user-data" else content)

    monkeypatch.setattr(fat.FatPartition, "write", lossy)
    with pytest.raises(FlashError, match="user-data reads back differently than it was written"):
        _customised(image)


def test_a_card_that_started_before_applies_new_settings(tmp_path: Path) -> None:
    """cloud-init applies its files once for each instance; changing them on a card that has started does nothing, silently.

    https://github.com/raspberrypi/rpi-imager/issues/1618
    """
    image = make_image(tmp_path / "x.img", TRIXIE)
    _customised(image)
    first = boot_of(image).text("cmdline.txt")
    _customised(image)
    assert boot_of(image).text("cmdline.txt") != first


def test_the_kernel_line_stays_one_line(tmp_path: Path) -> None:
    """A newline in ``cmdline.txt`` hides what comes after it from the kernel: the script is there, and nothing runs it."""
    image = make_image(tmp_path / "x.img", {**BOOKWORM, "cmdline.txt": BOOKWORM_CMDLINE + "\n\n"})
    _customised(image)
    text = boot_of(image).text("cmdline.txt")
    assert text.count("\n") == 1
    assert "systemd.run=" in text
