"""What a first-boot mechanism is: how an image takes settings from its boot partition when it starts for the first time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from secateur.flash.fat import FatPartition
from secateur.flash.settings import Settings
from secateur.flash.target import Target

MARK = "Written by secateur flash."
"""In every file that a mechanism makes, so that flashing once more replaces it and foreign settings are never replaced."""
SUFFIX = ".before-secateur"
"""Ending of the copy of a file that was there before."""


@dataclass(frozen=True)
class Found:
    """What an image is.

    Args:
        mechanism: name of the mechanism that it has.
        reason: by what it was recognised, for the reader.
        system: what it is, such as "Raspberry Pi OS Bookworm".
        folder: where the board mounts the boot partition.
        target: what an environment must be made for; None if the boot partition does not tell.
    """

    mechanism: str
    reason: str
    system: str
    folder: str
    target: Target | None = None


class Mechanism(ABC):
    """One way; a subclass in a module of this package registers itself. It only says what is to be written."""

    registered: ClassVar[list[type[Mechanism]]] = []
    name: ClassVar[str]
    """What the user calls it."""
    images: ClassVar[str]
    """Which images have it, for the line that refuses others."""
    label: ClassVar[str] = ""
    """Label that the boot partition must have, '' if it does not matter."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        Mechanism.registered.append(cls)

    @abstractmethod
    def detect(self, boot: FatPartition, where: str) -> Found | None:
        """Return what the image is if it has this mechanism, else None.

        Args:
            boot: its boot partition.
            where: the image, for error lines.

        Raises:
            FlashError: if it has, but cannot be used: a system too old, or settings of another program that would get lost.
        """

    @abstractmethod
    def files(self, boot: FatPartition, found: Found, settings: Settings) -> Mapping[str, bytes]:
        """Return the files that make the image apply the settings and run the setup program, the one that arms it last.

        Raises:
            FlashError: if it cannot apply one of them.
        """
