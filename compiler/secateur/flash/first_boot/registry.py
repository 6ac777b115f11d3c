"""Finds the first-boot mechanism of an image."""

from __future__ import annotations

import importlib
import pkgutil

from secateur.flash import first_boot
from secateur.flash.errors import FlashError
from secateur.flash.fat import FatPartition
from secateur.flash.first_boot.mechanism import Found, Mechanism

_NAMES_SHOWN = 8


def mechanisms() -> list[Mechanism]:
    """Return one of each kind, in the order of their names."""
    for module in pkgutil.iter_modules(first_boot.__path__, f"{first_boot.__name__}."):
        importlib.import_module(module.name)
    return [kind() for kind in sorted(Mechanism.registered, key=lambda kind: kind.name)]


def recognise(boot: FatPartition, where: str) -> tuple[Mechanism, Found]:
    """Return the one mechanism that an image has.

    Args:
        boot: its boot partition.
        where: the image, for the error line.

    Raises:
        FlashError: if it has none, or several claim it.
    """
    known = mechanisms()
    claims = [(mechanism, found) for mechanism in known if (found := mechanism.detect(boot, where)) is not None]
    if len(claims) == 1:
        return claims[0]
    if claims:
        raise FlashError(
            f"{where}: {' and '.join(found.reason for _, found in claims)}: cannot tell which one the image uses"
        )
    names = sorted(boot.names())
    shown = ", ".join(names[:_NAMES_SHOWN]) + (f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else "")
    raise FlashError(
        f"{where}: no known first-boot mechanism: its boot partition holds {shown or 'nothing'}; "
        f"known are {'; '.join(f'{mechanism.name} ({mechanism.images})' for mechanism in known)}"
    )
