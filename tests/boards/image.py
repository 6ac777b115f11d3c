"""Cards for the emulated boards: an arm64 Debian, laid out as Raspberry Pi OS is.

Two kinds, as the real ones: `bookworm` is Debian 12, which starts nothing of itself (customisation comes by `systemd.run=`
in cmdline.txt); `trixie` is Debian 13, whose FAT partition carries cloud-init's files.
`python -m tests.boards.image` builds them.
"""

from __future__ import annotations

import struct
from pathlib import Path

from tests.boards.build_cache import BUILD, cached, run, say
from tests.boards.root_file_system import BOOKWORM, DISK_ID, TRIXIE, Suite, root_file_system

SUITES = {suite.name: suite for suite in (BOOKWORM, TRIXIE)}
KINDS = tuple(SUITES)
_MIB = 1 << 20
_BOOT_START, _BOOT_BYTES = 8 * _MIB, 256 * _MIB
_ROOT_START = _BOOT_START + _BOOT_BYTES
_CONFIG = """# For more options and information see
# http://rptl.io/configtxt
dtparam=audio=on
auto_initramfs=1
arm_64bit=1
disable_overscan=1
arm_boost=1

[all]
"""
_CMDLINE = f"console=serial0,115200 console=tty1 root=PARTUUID={DISK_ID}-02 rootfstype=ext4 fsck.repair=yes rootwait quiet\n"
_ISSUE = "Raspberry Pi reference {date}\nStand-in for tests: Debian GNU/Linux {version} ({kind}), arm64\n"
_CLOUD_INIT = {
    "meta-data": "dsmode: local\ninstance_id: rpios-image\n",
    "user-data": "#cloud-config\n\n# Nothing is set: everything here is a comment.\n#hostname: raspberrypi\n",
    "network-config": "# Nothing is set.\n#network:\n#  version: 2\n",
}


def compressed_image(kind: str = "bookworm") -> Path:
    """Build the image of a kind, or take it from the cache.

    Returns:
        `build/boards/debian-<version>-arm64-<kind>.img.zst`.
    """
    suite = SUITES[kind]
    root = root_file_system(suite)
    folder = cached(f"image-{kind}", [root.name, Path(__file__)], lambda made: _compressed(root, suite, made))
    link = BUILD / f"debian-{suite.version}-arm64-{kind}.img.zst"
    link.unlink(missing_ok=True)
    link.hardlink_to(folder / "image.zst")
    return link


def make_card(card: Path, kind: str = "bookworm") -> None:
    """Write a new card, as a sparse file: what an unmodified image is after it was written to an SD card."""
    suite = SUITES[kind]
    assemble(root_file_system(suite), suite, card)


def assemble(root: Path, suite: Suite, image: Path) -> None:
    """Put the partitions together.

    Args:
        root: folder that `root_file_system` made.
        suite: what it is.
        image: the file to write.
    """
    boot = image.with_name(image.name + ".boot")
    _format_boot_partition(boot, root / "boot", suite)
    system = root / "root.ext4"
    with image.open("wb") as file:
        file.truncate(_ROOT_START + system.stat().st_size)
        file.write(_master_boot_record(system.stat().st_size))
    for source, start in ((boot, _BOOT_START), (system, _ROOT_START)):
        run("dd", f"if={source}", f"of={image}", "bs=1M", f"seek={start // _MIB}", "conv=notrunc,sparse", "status=none")
    boot.unlink()


def _compressed(root: Path, suite: Suite, folder: Path) -> None:
    image = folder / "image"
    assemble(root, suite, image)
    run("zstd", "-q", "-10", "-T2", "--rm", image, "-o", folder / "image.zst")


def _format_boot_partition(file: Path, boot_files: Path, suite: Suite) -> None:
    with file.open("wb") as made:
        made.truncate(_BOOT_BYTES)
    run("mkfs.fat", "--invariant", "-F", "32", "-s", "1", "-n", "bootfs", "-i", DISK_ID, file)
    date = "2025-05-13" if suite is BOOKWORM else "2025-12-04"
    issue = _ISSUE.format(date=date, version=suite.version, kind=suite.name)
    texts = {"config.txt": _CONFIG, "cmdline.txt": _CMDLINE, "issue.txt": issue}
    if suite is TRIXIE:
        texts |= _CLOUD_INIT
    run("mmd", "-i", file, "::/overlays")
    for source in sorted(boot_files.iterdir()):
        run("mcopy", "-i", file, source, f"::/{source.name}")
    for name, text in texts.items():
        run("mcopy", "-i", file, "-", f"::/{name}", stdin=text)


def _master_boot_record(root_bytes: int) -> bytes:
    record = bytearray(512)
    record[440:444] = struct.pack("<I", int(DISK_ID, 16))
    partitions = ((0x0C, _BOOT_START, _BOOT_BYTES), (0x83, _ROOT_START, root_bytes))
    for slot, (kind, start, size) in enumerate(partitions):
        # CHS addresses are out of range, as fdisk writes them: everybody reads the sector numbers.
        chs = b"\xfe\xff\xff"
        struct.pack_into("<B3sB3sII", record, 446 + 16 * slot, 0, chs, kind, chs, start // 512, size // 512)
    record[510:512] = b"\x55\xaa"
    return bytes(record)


if __name__ == "__main__":
    for name in KINDS:
        made = compressed_image(name)
        say(f"{made}: {made.stat().st_size / 1e6:.0f} MB")
