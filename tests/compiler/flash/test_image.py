from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
from tests.compiler.boot_images import (
    BOOKWORM,
    DEBIAN,
    MIB,
    START,
    TRIXIE,
    boot_of,
    fsck,
    make_image,
    payload,
    write_packed_image,
)

from secateur.flash.errors import FlashError
from secateur.flash.first_boot.mechanism import Found
from secateur.flash.image import Order, customise_card, flash_cards, room_for
from secateur.flash.payload import Payload
from secateur.flash.settings import Settings
from secateur.flash.source import ImageSource

TAIL = START + 36 * MIB


def _allowed(_order: Order, _needed: int) -> None:
    """Let every card be written."""


def _ready(_found: Found) -> None:
    """All that boards share is there."""


def _payload(device: str, _found: Found) -> Payload:
    return payload(device)


def _packed(path: Path, files: dict[str, str], table: str = "mbr") -> tuple[Path, bytes]:
    return path, write_packed_image(path, files, table)


@pytest.mark.parametrize(("files", "table"), [(BOOKWORM, "mbr"), (TRIXIE, "mbr"), (DEBIAN, "gpt")])
def test_only_the_boot_partition_differs_from_the_image(tmp_path: Path, files: dict[str, str], table: str) -> None:
    source, content = _packed(tmp_path / "x.img.xz", files, table)
    order = Order("pi-kitchen", tmp_path / "card.img")
    (card,) = flash_cards(ImageSource(source), [order], _ready, _payload, Settings, _allowed)
    written = order.target.read_bytes()
    assert (card.size, card.sha256) == (len(content), hashlib.sha256(written).hexdigest())
    assert written[:START] == content[:START]
    assert written[TAIL:] == content[TAIL:]
    assert boot_of(order.target).read("secateur/enrolment-token") == b"once-only"
    assert fsck(order.target) == ""
    assert [path.name for path in tmp_path.iterdir() if "secateur-flash" in path.name or path.suffix == ".part"] == []


def test_each_of_many_cards_gets_its_own_payload_and_name(tmp_path: Path) -> None:
    source, content = _packed(tmp_path / "x.img.xz", TRIXIE)
    orders = [Order(f"cam-{number:03d}", tmp_path / f"cam-{number:03d}.img") for number in (1, 2, 3)]
    cards = list(flash_cards(ImageSource(source), orders, _ready, _payload, Settings, _allowed))
    assert [card.device for card in cards] == ["cam-001", "cam-002", "cam-003"]
    for order in orders:
        boot = boot_of(order.target)
        assert f'"device": "{order.device}"' in boot.text("secateur/provision.json")
        assert f'hostname: "{order.device}"' in boot.text("user-data")
        assert order.target.read_bytes()[TAIL:] == content[TAIL:]
        assert not any(
            "cam-" in boot.text(name) and order.device not in boot.text(name) for name in ("user-data", "meta-data")
        )


def test_the_payload_is_asked_for_with_what_the_image_is_and_only_once_the_card_may_be_written(tmp_path: Path) -> None:
    source, _ = _packed(tmp_path / "x.img.xz", BOOKWORM)
    seen: list[str] = []

    def named(found: Found) -> str:
        assert found.target is not None
        return found.target.name

    def asked(device: str, found: Found) -> Payload:
        seen.append(f"payload of {device} for {named(found)}")
        return payload(device)

    list(
        flash_cards(
            ImageSource(source),
            [Order("a", tmp_path / "a.img")],
            lambda found: seen.append(f"environment for {named(found)}"),
            asked,
            Settings,
            lambda order, _needed: seen.append(f"may {order.device} be written?"),
        )
    )
    system = "cp311-aarch64-glibc2.36"
    assert seen == [f"environment for {system}", "may a be written?", f"payload of a for {system}"]


def test_a_payload_that_does_not_fit_leaves_no_file(tmp_path: Path) -> None:
    source, _ = _packed(tmp_path / "x.img.xz", BOOKWORM)

    def large(device: str, _found: Found) -> Payload:
        return payload(device, 61_000_000)

    with pytest.raises(FlashError, match="the boot partition has 37 MB free, 61 are needed"):
        list(flash_cards(ImageSource(source), [Order("a", tmp_path / "a.img")], _ready, large, Settings, _allowed))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.img.xz"]


def test_a_target_that_is_refused_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    source, content = _packed(tmp_path / "x.img.xz", BOOKWORM)
    (tmp_path / "a.img").write_bytes(b"mine")

    def refuse(_order: Order, needed: int) -> None:
        assert needed == len(content)
        raise FlashError("no")

    with pytest.raises(FlashError, match="no"):
        list(flash_cards(ImageSource(source), [Order("a", tmp_path / "a.img")], _ready, _payload, Settings, refuse))
    assert (tmp_path / "a.img").read_bytes() == b"mine"


def test_an_archive_that_ends_within_the_boot_partition_is_refused(tmp_path: Path) -> None:
    image = make_image(tmp_path / "x.img", BOOKWORM)
    cut = tmp_path / "cut.img"
    cut.write_bytes(image.read_bytes()[: 20 * MIB])
    with pytest.raises(FlashError, match="ends within its partitions"):
        list(flash_cards(ImageSource(cut), [Order("a", tmp_path / "a.img")], _ready, _payload, Settings, _allowed))
    assert not (tmp_path / "a.img").exists()


@pytest.mark.parametrize("packed", [False, True])
def test_an_image_that_ends_within_its_root_partition_is_refused(tmp_path: Path, packed: bool) -> None:
    """A raw one before anything is written; what a gzip file holds is known at its end only."""
    content = make_image(tmp_path / "x.img", BOOKWORM).read_bytes()[:-MIB]
    cut = tmp_path / "cut.img"
    cut.write_bytes(gzip.compress(content, 1) if packed else content)
    with pytest.raises(FlashError, match="ends within its partitions; download it again"):
        list(flash_cards(ImageSource(cut), [Order("a", tmp_path / "a.img")], _ready, _payload, Settings, _allowed))
    assert not (tmp_path / "a.img").exists()


def test_a_card_that_holds_a_system_gets_only_what_is_missing(tmp_path: Path) -> None:
    image = make_image(tmp_path / "card", BOOKWORM)
    before = image.read_bytes()
    card = customise_card(Order("pi-kitchen", image), _payload, Settings("pi-kitchen"))
    after = image.read_bytes()
    assert card.size == 0
    assert after[:START] == before[:START]
    assert after[TAIL:] == before[TAIL:]
    assert "systemd.run=" in boot_of(image).text("cmdline.txt")


def test_a_folder_without_room_is_told_before_hours_of_writing(tmp_path: Path) -> None:
    room_for(tmp_path, 1, "--output")
    with pytest.raises(FlashError, match=r"GB free, 1000000000\.0 are needed; name another folder"):
        room_for(tmp_path, 10**18, "--output")
    with pytest.raises(FlashError, match="make the folder first"):
        room_for(tmp_path / "none", 1, "--output")
