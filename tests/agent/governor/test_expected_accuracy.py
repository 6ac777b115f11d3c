"""Measured accuracies fitted to the order of the sizes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from tests.agent.governor.test_ladder import entry

from secateur_agent.governor.expected_accuracy import expected_accuracy


def rungs(values: list[float], precision: str = "int8"):  # type: ignore[no-untyped-def]
    """Return rungs of growing size with these accuracies."""
    return [entry(f"r{i}-{precision}", value, 1.0 + i, precision, macs=1 + i) for i, value in enumerate(values)]


def test_what_is_in_order_stays_as_measured() -> None:
    assert expected_accuracy(rungs([0.7, 0.8, 0.9])) == {"r0-int8": 0.7, "r1-int8": 0.8, "r2-int8": 0.9}


def test_each_precision_has_its_own_order() -> None:
    expected = expected_accuracy(rungs([0.7, 0.9]) + rungs([0.95, 0.98], "fp32"))
    assert expected == {"r0-int8": 0.7, "r1-int8": 0.9, "r0-fp32": 0.95, "r1-fp32": 0.98}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms())
def test_agrees_with_scikit_learn_whatever_the_order_of_the_entries(values: list[float], random) -> None:  # type: ignore[no-untyped-def]
    entries = rungs(values)
    random.shuffle(entries)
    expected = expected_accuracy(entries)
    fitted = [expected[f"r{i}-int8"] for i in range(len(values))]
    assert all(a <= b for a, b in itertools.pairwise(fitted))
    peer = IsotonicRegression().fit_transform(np.arange(len(values)), np.asarray(values))
    assert fitted == pytest.approx(list(peer), abs=1e-9)
