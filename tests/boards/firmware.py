"""What the Raspberry Pi's firmware does at power-on: read kernel, initramfs and command line from the FAT partition.

https://www.raspberrypi.com/documentation/computers/config_txt.html: `kernel`, `auto_initramfs`, `cmdline`.
"""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from pathlib import Path

from tests.boards.fat import BootPartition


@dataclass(frozen=True)
class BootFiles:
    """What the firmware hands over."""

    kernel: Path
    initramfs: Path | None
    device_tree: Path | None
    command_line: str


def load(card: Path, folder: Path, uart: str, device_tree: str | None = None) -> BootFiles:
    """Read a card.

    Args:
        card: its image.
        folder: gets the files.
        uart: the serial port that `serial0` stands for on this board; the firmware replaces it.
        device_tree: name of the board's device tree, if it needs one from the card.

    Returns:
        The files and the command line.

    Raises:
        FileNotFoundError: the card has no kernel or no command line: the board does not boot.
    """
    boot = BootPartition(card)
    settings = _settings(boot.read("config.txt").decode())
    names = {name.lower() for name in boot.names()}
    initramfs = "initramfs8" if settings.get("auto_initramfs") == "1" and "initramfs8" in names else None
    command_line = " ".join(boot.read(settings.get("cmdline", "cmdline.txt")).decode().split())
    return BootFiles(
        kernel=_extract(boot, settings.get("kernel", "kernel8.img"), folder),
        initramfs=_extract(boot, initramfs, folder) if initramfs else None,
        device_tree=_extract(boot, device_tree, folder) if device_tree else None,
        command_line=command_line.replace("console=serial0", f"console={uart}"),
    )


def _settings(text: str) -> dict[str, str]:
    """The settings that hold for every model: before the first filter, and under [all]."""
    parser = configparser.ConfigParser(
        strict=False, delimiters=("=",), comment_prefixes=("#",), default_section="", interpolation=None, allow_no_value=True
    )
    parser.read_string("[all]\n" + text)
    return {name: value for name, value in parser["all"].items() if value is not None}


def _extract(boot: BootPartition, name: str, folder: Path) -> Path:
    target = folder / name
    boot.extract(name, target)
    return target
