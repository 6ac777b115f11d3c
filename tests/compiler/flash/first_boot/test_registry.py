from __future__ import annotations

from pathlib import Path

import pytest
from tests.compiler.boot_images import BOOKWORM, LIBREELEC, boot_of, make_image

from secateur.flash.errors import FlashError
from secateur.flash.first_boot.registry import mechanisms, recognise


def test_every_mechanism_registers_itself() -> None:
    assert [mechanism.name for mechanism in mechanisms()] == ["cloud-init", "cloud-init (CIDATA)", "firstrun.sh", "preseed"]


@pytest.mark.parametrize(
    ("files", "holds"),
    [(LIBREELEC, "SYSTEM, cmdline.txt, config.txt, kernel.img"), ({}, "nothing"), ({"EFI/fedora/grub.cfg": "x"}, "EFI/")],
)
def test_an_unknown_system_is_refused_with_what_was_found_and_what_is_known(
    tmp_path: Path, files: dict[str, str], holds: str
) -> None:
    with pytest.raises(FlashError) as refused:
        recognise(boot_of(make_image(tmp_path / "x.img", files)), "image x.img")
    text = str(refused.value)
    assert text.startswith(
        f"image x.img: no known first-boot mechanism: its boot partition holds {holds}; known are cloud-init ("
    )
    assert "firstrun.sh (Raspberry Pi OS Bookworm" in text
    assert "\n" not in text


def test_an_image_that_half_looks_like_trixie_is_told_apart(tmp_path: Path) -> None:
    """``user-data`` alone is not what Raspberry Pi OS ships: no mechanism claims the image, and none is guessed."""
    with pytest.raises(FlashError, match="no known first-boot mechanism"):
        recognise(boot_of(make_image(tmp_path / "x.img", {**BOOKWORM, "user-data": "#cloud-config\n"})), "x")
