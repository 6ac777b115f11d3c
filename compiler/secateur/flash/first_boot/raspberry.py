"""What the boot partition of a Raspberry Pi tells of the system."""

from __future__ import annotations

import re

from secateur.flash.fat import FatPartition
from secateur.flash.systems import target_of_system
from secateur.flash.target import Target

FIRMWARE = "/boot/firmware"
_OVERLAYS = {"/boot/firmware/overlays/README": FIRMWARE, "/boot/overlays/README": "/boot"}
_KERNELS_32_BIT = ("kernel.img", "kernel7.img", "kernel7l.img")
_ISSUE = re.compile(r"Raspberry Pi reference (\d{4}-\d{2}-\d{2})")


def is_raspberry(boot: FatPartition) -> bool:
    """Whether a Raspberry Pi boots from it: its firmware reads ``config.txt`` and gives ``cmdline.txt`` to the kernel."""
    present = {name.lower() for name in boot.names()}
    return {"config.txt", "cmdline.txt"} <= present


def mount_point(boot: FatPartition) -> str:
    """Where the system mounts the boot partition: ``/boot/firmware`` since Bookworm, ``/boot`` before; '' if not known.

    The comments of pi-gen's ``config.txt`` name the path of the overlays' README; a system that is not built with it
    (LibreELEC, Home Assistant OS) may boot from the same files and mount them anywhere.
    """
    config = boot.text("config.txt")
    named = next((folder for path, folder in _OVERLAYS.items() if path in config), "")
    return named or (FIRMWARE if _ISSUE.search(boot.text("issue.txt")) else "")


def system(boot: FatPartition, suite: str, where: str) -> tuple[str, Target | None]:
    """Return the system's name and what an environment for it must be.

    Args:
        boot: the boot partition; ``issue.txt`` of pi-gen is on it.
        suite: "bookworm" or "trixie", as the first-boot mechanism tells.
        where: the image, for the error line.

    Raises:
        TargetError: if the system is too old, or a 32-bit one.
    """
    issue = _ISSUE.search(boot.text("issue.txt"))
    if issue is None:
        return "a system for the Raspberry Pi", None
    if mount_point(boot) == "/boot":
        suite = "bullseye"
    # Images of 32-bit systems have the kernels of all boards, those of 64-bit systems have kernel8.img and newer.
    narrow = any(boot.has(name) for name in _KERNELS_32_BIT)
    target = target_of_system(suite, "armv7l" if narrow else "aarch64", where)
    return f"Raspberry Pi OS {suite.capitalize()} of {issue[1]}", target
