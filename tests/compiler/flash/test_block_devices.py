from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.flash import block_devices
from secateur.flash.block_devices import cards, describe, list_devices, parse_listing, require_card, with_mmc_types
from secateur.flash.errors import FlashError

FOLDER = Path(__file__).parent / "lsblk"
LAPTOP = with_mmc_types(parse_listing((FOLDER / "laptop.json").read_bytes()), FOLDER / "laptop-sys-block")
BOARD = parse_listing((FOLDER / "board-on-usb.json").read_bytes())
VIRTUAL = parse_listing((FOLDER / "virtual-machine.json").read_bytes())


def test_only_removable_devices_that_nothing_uses_are_cards() -> None:
    assert [card.name for card in cards(LAPTOP)] == ["/dev/sda", "/dev/mmcblk0"]
    assert cards(BOARD) == ()
    assert cards(VIRTUAL) == ()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/dev/nvme0n1", "is the disk of this system (/dev/nvme0n1p1 is mounted at /boot/efi)"),
        ("/dev/sda1", "is a part of /dev/sda"),
        ("/dev/mapper/vg-root", "is a part of /dev/nvme0n1"),
        ("/dev/sdb", "is mounted (/dev/sdb1 at /media/me/PHOTOS); unmount it: 'umount /dev/sdb1'"),
        ("/dev/sdc", "has no medium"),
        ("/dev/sdd", "has 2000 GB, more than a card is expected to have (256 GB; '--max-size' changes that)"),
        ("/dev/sde", "is read-only; move the card's lock switch"),
        ("/dev/sdf", "is not removable (sata)"),
        ("/dev/mmcblk1", "is not removable (the kernel calls it MMC, not SD: soldered memory)"),
        ("/dev/sr0", "is not a card (lsblk calls it 'rom')"),
        ("/dev/loop3", "is not a card (lsblk calls it 'loop')"),
        ("/dev/sdz", "no such block device; cards here: /dev/sda: STORAGE DEVICE, 31.9 GB, holds bootfs, rootfs"),
        ("/dev/null", "no such block device"),
    ],
)
def test_what_is_no_card_is_refused_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(FlashError) as refused:
        require_card(name, LAPTOP, 1000)
    assert str(refused.value).startswith(name)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/dev/sda", "is the disk of this system (/dev/sda1 is mounted at /boot/firmware)"),
        ("/dev/mmcblk0", "is the disk of this system (/dev/mmcblk0p1 is swap)"),
        ("/dev/sdb", "is in use: /dev/sdb1 belongs to a RAID"),
        ("/dev/sdc", "is the disk of this system (/dev/sdc1 is mounted at /home/me)"),
        ("/dev/sdd", "is in use: /dev/md127 is built on it (raid1)"),
    ],
)
def test_a_system_on_a_removable_stick_is_still_the_system(name: str, why: str) -> None:
    with pytest.raises(FlashError, match="no card is inserted") as refused:
        require_card(name, BOARD, 1000)
    assert why in str(refused.value)


def test_a_recorded_virtual_machine_has_no_card() -> None:
    with pytest.raises(FlashError, match=r"/dev/vda is the disk of this system \(/dev/vda is mounted at /\)"):
        require_card("/dev/vda", VIRTUAL, 1000)


def test_a_card_that_is_too_small_or_beyond_the_cap_is_refused() -> None:
    with pytest.raises(FlashError, match=r"/dev/sda is too small: it has 31.91 GB, the image 64.00; take a larger card"):
        require_card("/dev/sda", LAPTOP, 64 * 10**9)
    with pytest.raises(FlashError, match="more than a card is expected"):
        require_card("/dev/sda", LAPTOP, 1000, cap=16 * 10**9)
    card = require_card("/dev/sda", LAPTOP, 1000)
    assert describe(card) == "/dev/sda: STORAGE DEVICE, 31.9 GB, holds bootfs, rootfs"


def test_numbers_and_booleans_as_text_are_those_of_older_versions() -> None:
    old = {"name": "/dev/sdb", "size": "31914983424", "type": "disk", "rm": "1", "ro": "0", "hotplug": "1", "tran": "usb"}
    (device,) = parse_listing(json.dumps({"blockdevices": [old]}))
    assert (device.size, device.rm, device.ro) == (31914983424, True, False)


@pytest.mark.skipif(not Path("/sys/block").is_dir(), reason="Linux only, like the command itself")
def test_the_disk_of_the_machine_that_runs_this_test_is_never_a_card() -> None:
    devices = list_devices()
    for device in devices:
        if any(place == "/" for _, place in device.mounts):
            with pytest.raises(FlashError, match="is the disk of this system"):
                require_card(device.name, devices, 1)


def test_what_is_on_an_mmc_bus_is_a_card_only_if_the_kernel_says_so(tmp_path: Path) -> None:
    (device,) = parse_listing(
        '{"blockdevices": [{"name": "/dev/mmcblk0", "type": "disk", "size": 31914983424, "hotplug": true}]}'
    )
    for kind, found in (("SD", 1), ("MMC", 0), ("SDIO", 0)):
        (tmp_path / "mmcblk0" / "device").mkdir(parents=True, exist_ok=True)
        (tmp_path / "mmcblk0" / "device" / "type").write_text(f"{kind}\n")
        assert len(cards(with_mmc_types((device,), tmp_path))) == found
    assert cards(with_mmc_types((device,), tmp_path / "none")) == ()


def test_a_device_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("lsblk", 60)

    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(FlashError, match="lsblk does not answer"):
        list_devices()


def test_an_lsblk_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_devices, "_COMMAND", ("lsblk", "-o", "NOSUCHCOLUMN"))
    with pytest.raises(FlashError, match=r"lsblk failed .*util-linux 2.37"):
        list_devices()
    monkeypatch.setattr(block_devices, "_COMMAND", ("lsblk-that-is-not-there",))
    with pytest.raises(FlashError, match="lsblk is not installed"):
        list_devices()


_LEAF = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["/dev/sda", "/dev/sda1", "/dev/sdb"]),
        "type": st.sampled_from(["disk", "part", "crypt", "raid1"]),
    },
    optional={
        "size": st.none() | st.integers(0, 10**13),
        "rm": st.booleans(),
        "ro": st.booleans(),
        "hotplug": st.booleans(),
        "tran": st.sampled_from([None, "usb", "sata", "mmc"]),
        "mmc": st.sampled_from(["", "SD", "MMC"]),
        "fstype": st.sampled_from([None, "vfat", "swap", "LVM2_member"]),
        "mountpoints": st.lists(st.sampled_from([None, "/", "/boot", "/media/x", "[SWAP]"]), max_size=3),
    },
)
_TREE = st.recursive(
    _LEAF, lambda inner: st.builds(lambda top, below: {**top, "children": below}, _LEAF, st.lists(inner, max_size=3))
)


@given(devices=st.lists(_TREE, max_size=4))
def test_nothing_that_is_mounted_held_or_built_in_is_ever_a_card(devices: list[dict[str, object]]) -> None:
    parsed = parse_listing(json.dumps({"blockdevices": devices}))
    for card in cards(parsed):
        assert not card.mounts
        assert card.type == "disk"
        assert card.tran in (None, "usb") or card.mmc == "SD"
        assert not any(one.fstype in ("swap", "LVM2_member") or one.type in ("crypt", "raid1") for one in card.all())
        assert not card.ro


@given(
    text=st.one_of(
        st.binary(max_size=200), st.text(max_size=200).map(str.encode), st.just(b'{"blockdevices":' + b"[" * 5000)
    )
)
def test_any_text_is_a_listing_or_one_line(text: bytes) -> None:
    refused = ""
    try:
        parse_listing(text)
    except FlashError as error:
        refused = str(error)
    assert "\n" not in refused


def test_the_command_is_the_one_that_was_recorded() -> None:
    recorded = (FOLDER / "README.md").read_text()
    assert " ".join(block_devices._COMMAND) in recorded
    assert subprocess.run(["lsblk", "--version"], capture_output=True, check=True).returncode == 0
