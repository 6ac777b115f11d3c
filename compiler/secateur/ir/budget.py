"""Budgets: what every emitted rung but the original must meet."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from secateur.ir.errors import SecateurError

_UNITS = {
    "latency": {"ms": 1.0, "s": 1e3, "us": 1e-3},
    "memory": {"mb": 1.0, "gb": 1024.0, "kb": 1 / 1024},
    "energy": {"mj": 1.0, "j": 1e3},
    "size": {"kb": 1.0, "mb": 1024.0, "b": 1 / 1024},
    "accuracy-drop": {"": 1.0, "points": 1.0},
}
_FIELDS = {
    "latency": "latency_ms",
    "memory": "memory_mb",
    "energy": "energy_mj",
    "size": "size_kb",
    "accuracy-drop": "accuracy_drop",
}


class BudgetError(SecateurError):
    """A budget is not written as KIND=VALUE with a known kind and unit."""


@dataclass(frozen=True)
class Budget:
    """Upper bounds; None is not bounded.

    Attributes:
        latency_ms: median of one inference, batch 1, the profile's threads.
        memory_mb: peak memory of a fresh worker.
        energy_mj: energy of one inference.
        size_kb: the model file, in KiB.
        accuracy_drop: points (metric × 100) below the original.
    """

    latency_ms: float | None = None
    memory_mb: float | None = None
    energy_mj: float | None = None
    size_kb: float | None = None
    accuracy_drop: float | None = None

    def with_spec(self, spec: str) -> Budget:
        """Return a budget with ``spec`` (like ``latency=20ms``) added; the tighter of two of a kind holds.

        Raises:
            BudgetError: if the text is not a budget.
        """
        match = re.fullmatch(r"([a-z-]+)=([0-9.]+)([A-Za-z]*)", spec.strip())
        kind = match.group(1) if match else ""
        if not match or kind not in _UNITS:
            raise BudgetError(f"budget {spec!r}: write KIND=VALUE with KIND one of {', '.join(_UNITS)}, e.g. latency=20ms")
        units = _UNITS[kind]
        if match.group(3).lower() not in units:
            known = ", ".join(unit or "no unit" for unit in units)
            raise BudgetError(f"budget {spec!r}: the unit of {kind} is one of {known}")
        try:
            value = float(match.group(2)) * units[match.group(3).lower()]
        except ValueError:
            value = 0.0
        if value <= 0 or not math.isfinite(value):
            raise BudgetError(f"budget {spec!r}: the value must be a number above 0")
        present = getattr(self, _FIELDS[kind])
        return replace(self, **{_FIELDS[kind]: value if present is None else min(value, present)})


def parse_budget(specs: list[str]) -> Budget:
    """Parse the ``--budget`` options of a command.

    Raises:
        BudgetError: names the option that is not a budget.
    """
    budget = Budget()
    for spec in specs:
        budget = budget.with_spec(spec)
    return budget
