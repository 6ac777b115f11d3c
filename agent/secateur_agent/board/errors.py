"""The one error of the setup program."""

from __future__ import annotations


class SetupError(ValueError):
    """Setup cannot go on; one line that says what, where and how to mend it."""
