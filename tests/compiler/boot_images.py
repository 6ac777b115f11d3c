"""Small disk images with the boot partitions of real ones.

Names, ``cmdline.txt``, ``config.txt``, ``issue.txt`` and cloud-init's files are those of Raspberry Pi OS (pi-gen, branches
bookworm-arm64 and master) and of Debian's images for clouds (debian-cloud-images), some of them shortened; kernels, device
trees and root partitions are stand-ins.
"""

from __future__ import annotations

import functools
import lzma
import random
import struct
import subprocess
import tempfile
import uuid
import zlib
from collections.abc import Mapping
from pathlib import Path

from secateur.flash.fat import FatPartition
from secateur.flash.partitions import Partition
from secateur.flash.payload import SETUP_PROGRAM, Payload, PayloadFile

MIB = 1 << 20
START = 4 * MIB
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")

BOOKWORM_CMDLINE = (
    "console=serial0,115200 console=tty1 root=PARTUUID=4e639091-02 rootfstype=ext4 fsck.repair=yes rootwait quiet "
    "init=/usr/lib/raspberrypi-sys-mods/firstboot\n"
)
TRIXIE_CMDLINE = (
    "console=serial0,115200 console=tty1 root=PARTUUID=53a5d3f7-02 rootfstype=ext4 fsck.repair=yes rootwait resize\n"
)
CONFIG = """# For more options and information see
# http://rptl.io/configtxt
# Some settings may impact device functionality. See link above for details

# Uncomment some or all of these to enable the optional hardware interfaces
#dtparam=i2c_arm=on
#dtparam=i2s=on
#dtparam=spi=on

# Enable audio (loads snd_bcm2835)
dtparam=audio=on

# Additional overlays and parameters are documented
# /boot/firmware/overlays/README

# Automatically load overlays for detected cameras
camera_auto_detect=1

[cm4]
otg_mode=1

[all]
"""
BULLSEYE_CONFIG = CONFIG.replace("/boot/firmware/overlays", "/boot/overlays")
USER_DATA = """#cloud-config

# This is the user-data configuration file for cloud-init.
#
# https://cloudinit.readthedocs.io/

#hostname: raspberrypi

# Controls password authentication with the SSH daemon
#ssh_pwauth: false

## Run arbitrary commands at rc.local like time
#runcmd:
#- [ ls, -l, / ]
"""
META_DATA = "# This is the meta-data configuration file for cloud-init.\ndsmode: local\ninstance_id: rpios-image\n"
NETWORK_CONFIG = "# This file contains a netplan-compatible configuration\n#network:\n#  version: 2\n"


def _issue(date: str) -> str:
    return (
        f"Raspberry Pi reference {date}\n"
        "Generated using pi-gen, https://github.com/RPi-Distro/pi-gen, 3cbb72d0ea7a25a8b9b9bc9a8b5b0d1a9c5ff4ce, stage2\n"
    )


_FIRMWARE = {
    "bcm2711-rpi-4-b.dtb": "stand-in for a device tree",
    "bcm2712-rpi-5-b.dtb": "stand-in for a device tree",
    "bootcode.bin": "stand-in",
    "start4.elf": "stand-in",
    "kernel8.img": "stand-in for a kernel",
    "kernel_2712.img": "stand-in for a kernel",
    "initramfs8": "stand-in",
    "overlays/README": "stand-in",
    "overlays/i2c-sensor.dtbo": "stand-in",
    "LICENCE.broadcom": "stand-in",
}
BOOKWORM = {**_FIRMWARE, "cmdline.txt": BOOKWORM_CMDLINE, "config.txt": CONFIG, "issue.txt": _issue("2024-07-04")}
BULLSEYE = {**BOOKWORM, "config.txt": BULLSEYE_CONFIG, "issue.txt": _issue("2023-05-03")}
BOOKWORM_32_BIT = {**BOOKWORM, "kernel7.img": "stand-in", "kernel7l.img": "stand-in"}
TRIXIE = {
    **_FIRMWARE,
    "cmdline.txt": TRIXIE_CMDLINE,
    "config.txt": CONFIG,
    "issue.txt": _issue("2025-12-04"),
    "user-data": USER_DATA,
    "meta-data": META_DATA,
    "network-config": NETWORK_CONFIG,
}
DEBIAN = {
    "EFI/BOOT/BOOTAA64.EFI": "stand-in",
    "EFI/debian/grub.cfg": "search.fs_uuid 1f6d4b8e-6a3c-4bd2-9b4e-0b6d2b1f5f0a root\nset prefix=($root)'/boot/grub'\n",
    "EFI/debian/grubaa64.efi": "stand-in",
}
LIBREELEC = {
    "cmdline.txt": "boot=UUID=1202-1858 disk=UUID=a1b2 quiet console=tty0\n",
    "config.txt": "# Bootloader configuration\narm_64bit=1\nkernel=kernel.img\n",
    "kernel.img": "stand-in",
    "SYSTEM": "stand-in",
}


def payload(device: str = "pi-kitchen", environment_bytes: int = 300_000) -> Payload:
    """Return a payload with the names of a real one; its environment is random bytes, its setup program a stand-in."""
    return Payload(
        device,
        {
            "provision.json": PayloadFile(b'{"v": 1, "device": "%s", "files": {}}' % device.encode()),
            "environment.tar.gz": PayloadFile(random.Random(7).randbytes(environment_bytes)),
            "enrolment-token": PayloadFile(b"once-only", secret=True),
            SETUP_PROGRAM: PayloadFile(b"# stand-in\n"),
        },
    )


def make_fat(path: Path, files: Mapping[str, str | bytes], size: int, bits: int = 32, label: str = "bootfs") -> None:
    """Make a FAT file system in a file of its own, and put files into it."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    clusters = ["-s", "1"] if bits == 32 else []
    subprocess.run(
        ["mkfs.vfat", "-F", str(bits), *clusters, "-n", label.upper(), str(path)], check=True, capture_output=True
    )
    folders: set[str] = set()
    for name, content in files.items():
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            if folder not in folders:
                subprocess.run(["mmd", "-i", str(path), f"::/{folder}"], check=True, capture_output=True)
                folders.add(folder)
        data = content if isinstance(content, bytes) else content.encode()
        subprocess.run(["mcopy", "-i", str(path), "-", f"::/{name}"], input=data, check=True, capture_output=True)


def make_image(
    path: Path, files: Mapping[str, str | bytes], fat_mib: int = 36, root_mib: int = 4, table: str = "mbr", bits: int = 32
) -> Path:
    """Make a disk image: a boot partition with files, then a root partition of random bytes (a stand-in for ext4)."""
    fat = path.with_name(path.name + ".fat")
    make_fat(fat, files, fat_mib * MIB, bits)
    root = START + fat_mib * MIB
    end = root + root_mib * MIB
    with path.open("wb") as file:
        file.truncate(end + (MIB if table == "gpt" else 0))
        file.write(gpt_head(START, root, end) if table == "gpt" else mbr_head(START, root, end))
        file.seek(START)
        file.write(fat.read_bytes())
        file.seek(root)
        file.write(random.Random(3).randbytes(root_mib * MIB))
    fat.unlink()
    return path


def write_packed_image(path: Path, files: Mapping[str, str], table: str = "mbr") -> bytes:
    """Write a disk image as `.xz`, which is made once for the same files. Returns: what it unpacks to."""
    packed, content = _packed(tuple(files.items()), table)
    path.write_bytes(packed)
    return content


@functools.cache
def _packed(files: tuple[tuple[str, str], ...], table: str) -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        content = make_image(Path(folder) / "image", dict(files), table=table).read_bytes()
    return lzma.compress(content, preset=0), content


def mbr_head(fat: int, root: int, end: int, kind: int = 0x0C) -> bytes:
    """Return the first MiB of a disk with an MBR: a FAT and a Linux partition, as pi-gen makes it."""
    entry = "<B3sB3sII"
    table = struct.pack(entry, 0, bytes(3), kind, bytes(3), fat // 512, (root - fat) // 512)
    table += struct.pack(entry, 0, bytes(3), 0x83, bytes(3), root // 512, (end - root) // 512)
    return (bytes(440) + b"\x91\x90\x63\x4e\0\0" + table + bytes(32) + b"\x55\xaa").ljust(MIB, b"\0")


def gpt_head(fat: int, root: int, end: int) -> bytes:
    """Return the first MiB with a GPT, as Debian's images have it: the ESP is number 15 and comes before number 1."""
    entries = bytearray(128 * 128)
    for number, kind, first, last in ((1, LINUX, root, end), (15, ESP, fat, root)):
        entry = kind.bytes_le + uuid.UUID(int=number).bytes_le + struct.pack("<QQQ", first // 512, last // 512 - 1, 0)
        entries[(number - 1) * 128 : (number - 1) * 128 + len(entry)] = entry
    sectors = (end + MIB) // 512

    def header(crc: int) -> bytes:
        return struct.pack(
            "<8sIIIIQQQQ16sQIII",
            b"EFI PART",
            0x10000,
            92,
            crc,
            0,
            1,
            sectors - 1,
            34,
            sectors - 34,
            bytes(16),
            2,
            128,
            128,
            zlib.crc32(entries),
        )

    protective = struct.pack("<B3sB3sII", 0, bytes(3), 0xEE, bytes(3), 1, sectors - 1)
    mbr = bytes(446) + protective + bytes(48) + b"\x55\xaa"
    return (mbr + header(zlib.crc32(header(0))).ljust(512, b"\0") + entries).ljust(MIB, b"\0")


def boot_of(image: Path, fat_mib: int = 36) -> FatPartition:
    """Return the boot partition of an image made here."""
    return FatPartition(image, Partition(1, START, fat_mib * MIB, True))


def fsck(image: Path, fat_mib: int = 36) -> str:
    """Check the boot partition of an image made here; '' if it is clean, else what is wrong."""
    part = image.with_name(image.name + ".check")
    with image.open("rb") as file:
        file.seek(START)
        part.write_bytes(file.read(fat_mib * MIB))
    done = subprocess.run(["fsck.vfat", "-n", str(part)], capture_output=True, text=True, check=False)
    part.unlink()
    return "" if done.returncode == 0 else done.stdout
