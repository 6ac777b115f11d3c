"""Errors that a person gets as one line: what, where and how to mend it."""

from __future__ import annotations


class SecateurError(ValueError):
    """Something the user gave cannot be used as it is."""

    exit_code = 1


class UnsupportedModelError(SecateurError):
    """The model cannot be brought to normal form."""


class InfeasibleError(SecateurError):
    """No network under these budgets; says what the nearest is."""

    exit_code = 3
