"""Random scores are seeded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.compiler.evidence import evidence_of

from secateur.criteria import CRITERIA, score


def test_the_same_seed_gives_the_same_scores_and_another_gives_others() -> None:
    evidence = evidence_of("resnet-a")
    first, again = score("random", evidence), score("random", evidence)
    other = score("random", replace(evidence, seed=1))
    for group, value in first.items():
        np.testing.assert_array_equal(value, again[group])
        assert not np.allclose(value, other[group])


def test_groups_of_the_same_size_are_ordered_differently() -> None:
    evidence = evidence_of("resnet-a")
    orders = [tuple(np.argsort(value)) for value in score("random", evidence).values() if len(value) == 8]
    assert len(orders) > 1
    assert len(set(orders)) == len(orders)


def test_no_other_criterion_gives_that_order() -> None:
    evidence = evidence_of("mlp")
    order = np.argsort(score("random", evidence)["g0"])
    for name in set(CRITERIA) - {"random"}:
        assert not np.array_equal(np.argsort(score(name, evidence)["g0"]), order)
