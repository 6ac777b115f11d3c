"""What can go wrong with an image or a card."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Told of a step, what is done of it, and of how much (0: not known)."""


class FlashError(ValueError):
    """An image, a card or what shall be written to it is refused; one line that says what, where and how to mend it."""


def silent(_step: str, _done: int, _total: int) -> None:
    """Show no progress."""
