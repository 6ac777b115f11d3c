"""Sparsity patterns make exactly the zeros they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.ir import SecateurError
from secateur.pruning.weights import PATTERNS, check_pattern, holds, parse_n_of_m, sparsify, zero_share
from secateur.pruning.weights.soft import soft_threshold

SHAPES = {"conv": (6, 8, 3, 3), "depthwise": (8, 1, 3, 3), "linear": (5, 12), "odd": (4, 10)}


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(size=shape).astype(np.float32) * (index + 1) for index, (name, shape) in enumerate(SHAPES.items())
    }


def magnitudes(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.abs(weight.astype(np.float64)) for name, weight in found.items()}


def flat(found: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(value).ravel() for value in found.values()])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_ratio_is_met_over_all_layers_and_the_lowest_go(share: float) -> None:
    before = weights()
    after = sparsify(before, magnitudes(before), "ratio", share)
    gone = flat(after) == 0
    assert gone.sum() == round(share * gone.size)
    assert np.abs(flat(before))[gone].max() < np.abs(flat(before))[~gone].min()


def test_a_ratio_per_layer_is_met_in_each() -> None:
    before = weights()
    for name, weight in sparsify(before, magnitudes(before), "layer-ratio", 0.5).items():
        assert (weight == 0).sum() == round(0.5 * weight.size), name
    globally = sparsify(before, magnitudes(before), "ratio", 0.5)
    assert (globally["conv"] == 0).mean() > 0.55, "the layer of small weights gives more zeros when layers compete"


def test_a_value_is_a_threshold() -> None:
    before = weights()
    after = sparsify(before, magnitudes(before), "value", 0.7)
    np.testing.assert_array_equal(flat(after) == 0, np.abs(flat(before)) < 0.7)


@pytest.mark.parametrize("pattern", ["ratio", "layer-ratio", "value"])
def test_hard_thresholds_leave_survivors_alone(pattern: str) -> None:
    before = weights()
    after = flat(sparsify(before, magnitudes(before), pattern, 0.5))
    np.testing.assert_array_equal(after[after != 0], flat(before)[after != 0])
    assert 0 < (after == 0).sum() < after.size


def test_a_soft_threshold_shrinks_survivors_by_exactly_the_threshold() -> None:
    before = weights()
    threshold = soft_threshold(magnitudes(before), 0.5)
    after, original = flat(sparsify(before, magnitudes(before), "soft", 0.5)), flat(before)
    assert (after == 0).sum() == round(0.5 * after.size)
    np.testing.assert_allclose(after, np.sign(original) * np.maximum(np.abs(original) - threshold, 0), rtol=1e-5, atol=1e-6)


def test_a_soft_threshold_of_another_criterion_shrinks_by_its_share_of_the_score() -> None:
    before = weights()
    scores = {name: np.random.default_rng(1).random(weight.shape) for name, weight in before.items()}
    threshold = soft_threshold(scores, 0.5)
    after = sparsify(before, scores, "soft", 0.5)
    expected = {name: before[name] * np.maximum(1 - threshold / scores[name], 0) for name in before}
    np.testing.assert_allclose(flat(after), flat(expected), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (1, 4)])
def test_n_of_m_keeps_the_best_n_of_every_m_inputs(n: int, m: int) -> None:
    before = weights()
    after = sparsify(before, magnitudes(before), f"{n}:{m}", 0.0)
    assert all(holds(weight, n, m) for weight in after.values())
    np.testing.assert_array_equal(after["depthwise"], before["depthwise"])
    blocks = np.moveaxis(after["conv"], 1, -1).reshape(-1, m)
    originals = np.moveaxis(before["conv"], 1, -1).reshape(-1, m)
    assert ((blocks != 0).sum(1) == n).all()
    for block, original in zip(blocks, originals):
        assert set(np.flatnonzero(block)) == set(np.argsort(-np.abs(original))[:n])


def test_a_last_short_block_counts_as_padded_with_zeros() -> None:
    before = weights()
    after = sparsify(before, magnitudes(before), "2:4", 0.0)["odd"]
    assert ((after[:, :8].reshape(-1, 4) != 0).sum(1) == 2).all()
    assert ((after[:, 8:] != 0).sum(1) == 2).all()


def test_slices_from_the_front_keep_n_of_m_and_slices_that_shift_blocks_do_not() -> None:
    before = weights()
    after = sparsify(before, magnitudes(before), "2:4", 0.0)["conv"]
    assert all(holds(after[:rows, :columns], 2, 4) for rows in (1, 3, 6) for columns in range(4, 9))
    dense_end = np.array([[1.0, 0, 0, 1, 1, 1, 0, 0]])
    assert holds(dense_end, 2, 4)
    assert not holds(dense_end[:, 2:], 2, 4)


def test_a_weight_that_breaks_the_pattern_is_noticed() -> None:
    weight = np.zeros((2, 8, 1, 1))
    weight[1, 4:7] = 1
    assert not holds(weight, 2, 4)


@given(st.text(max_size=8))
def test_only_n_of_m_is_read_as_n_of_m(text: str) -> None:
    found = parse_n_of_m(text)
    if found is not None:
        n, m = found
        assert text == f"{n}:{m}"
        assert 0 < n < m


@pytest.mark.parametrize(
    ("pattern", "amount", "criterion", "reason"),
    [
        ("diagonal", 0.5, "magnitude", "sparsity pattern 'diagonal'.*ratio, soft, value, 2:4, 4:8"),
        ("4:2", 0.0, "magnitude", "sparsity pattern '4:2'"),
        ("ratio", 1.0, "magnitude", "a share of the weights below 1"),
        ("ratio", -0.5, "magnitude", "0 or more"),
        ("value", float("nan"), "magnitude", "0 or more"),
        ("2:4", 0.7, "magnitude", "pattern 2:4 has 0.5 of zeros; leave --sparsity out"),
        ("ratio", 0.5, "vibes", "sparsity criterion 'vibes'.*magnitude, taylor"),
    ],
)
def test_what_cannot_be_is_one_line(pattern: str, amount: float, criterion: str, reason: str) -> None:
    with pytest.raises(SecateurError, match=reason) as caught:
        check_pattern(pattern, amount, criterion)
    assert "\n" not in str(caught.value)


def test_nothing_is_pruned_unless_asked_for() -> None:
    assert not check_pattern("ratio", 0.0, "magnitude")
    assert check_pattern("2:4", 0.0, "magnitude")
    assert check_pattern("2:4", 0.5, "magnitude")
    assert check_pattern("value", 3.0, "magnitude")
    assert zero_share(weights()) == 0


@pytest.mark.parametrize("pattern", [*sorted(PATTERNS), "2:4"])
def test_every_pattern_keeps_shapes_and_types(pattern: str) -> None:
    before = weights()
    for name, weight in sparsify(before, magnitudes(before), pattern, 0.5).items():
        assert weight.shape == before[name].shape
        assert weight.dtype == np.float32
