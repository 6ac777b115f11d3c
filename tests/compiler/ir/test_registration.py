"""Names are registered once, and all stages know the same operators."""

from __future__ import annotations

import pytest

from secateur.criteria.registry import CRITERIA, criterion
from secateur.export.operators import WRITERS, writes
from secateur.graph.rules import RULES, rule
from secateur.ir.registration import DuplicateError, Registry
from secateur.load.converters import CONVERTERS, converter
from secateur.pruning.adjustments import ADJUSTMENTS, adjustment
from secateur.search.work import WORK, work
from secateur.twin.operators.registry import OPERATORS, operator

LAYERS = {"Conv", "ConvTranspose", "Linear"}
REGISTRIES = [
    (CONVERTERS, converter),
    (OPERATORS, operator),
    (RULES, rule),
    (ADJUSTMENTS, adjustment),
    (WRITERS, writes),
    (WORK, work),
    (CRITERIA, criterion),
]


@pytest.mark.parametrize(("registry", "register"), REGISTRIES, ids=lambda value: getattr(value, "kind", ""))
def test_a_second_registration_of_a_name_is_refused(registry: Registry, register) -> None:
    name, before = next(iter(registry.items()))
    with pytest.raises(DuplicateError, match=f"{name!r} is registered twice: .* and .*another"):

        @register(name)
        def another() -> None:
            """Would win silently."""

    assert registry[name] is before


def test_two_names_of_one_registration_may_not_be_the_same_either() -> None:
    with pytest.raises(DuplicateError, match="operator 'Relu' is registered twice"):
        Registry("operator").register(["Relu", "Relu"], len)


def test_what_the_twin_runs_has_a_rule_and_a_writer() -> None:
    """`Affine`, `Linear` and `Conv` the twin and the writers know by themselves; `Cast` the twin."""
    assert set(RULES) == set(OPERATORS) | LAYERS | {"Affine", "Cast"}
    assert set(WRITERS) | LAYERS | {"Affine"} == set(RULES)
