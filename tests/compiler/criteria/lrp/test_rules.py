"""Relevance rules by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from secateur.criteria.lrp import RULES, Passed, Settings, Step
from secateur.ir import Network, Node, Table
from secateur.twin import fixed_values
from secateur.twin.execute import apply

T = torch.tensor


def passed(
    op: str, inputs: list[Any], relevance: Any, positive: bool = False, attrs: dict[str, Any] | None = None, **values: Any
) -> Passed:
    """Apply the rule of one operator; ``values`` may have its weight ``w`` and its table ``t``."""
    weights = {"w": np.array(values["w"], np.float64)} if "w" in values else {}
    tables = {"t": Table(*np.array(values["t"], np.float64))} if "t" in values else {}
    network = Network({}, {}, [], weights, tables, {})
    node = Node(op, tuple(f"x{i}" for i in range(len(inputs))), "y", attrs or {})
    xs, table = [T(x, dtype=torch.float64) for x in inputs], fixed_values(network, torch.float64)
    return RULES[op](
        Step(node, xs, apply(node, xs, table), T(relevance, dtype=torch.float64), table, Settings(0.0, positive))
    )


def close(got: Tensor, wanted: Any) -> None:
    torch.testing.assert_close(got, T(wanted, dtype=torch.float64))


def test_a_linear_layer_shares_by_contribution() -> None:
    found = passed("Linear", [[[1.0, 2.0]]], [[4.0]], attrs={"weight": "w"}, w=[[3.0, -1.0]])
    close(found.inputs[0], [[12.0, -8.0]])  # contributions 3 and −2 to an output of 1


def test_z_plus_shares_among_contributions_of_the_outputs_sign() -> None:
    found = passed("Linear", [[[1.0, 2.0]]], [[4.0]], True, {"weight": "w"}, w=[[3.0, -1.0]])
    close(found.inputs[0], [[4.0, 0.0]])
    found = passed("Linear", [[[1.0, -2.0, 1.0]]], [[6.0]], True, {"weight": "w"}, w=[[1.0, -1.0, -1.0]])
    close(found.inputs[0], [[2.0, 4.0, 0.0]])  # 1, 2 and −1: two negatives make a positive contribution
    found = passed("Linear", [[[1.0, 2.0]]], [[4.0]], True, {"weight": "w"}, w=[[1.0, -2.0]])
    close(found.inputs[0], [[0.0, 4.0]])  # the output is negative, and so is what made it


@pytest.mark.parametrize(("positive", "wanted", "absorbed"), [(False, 8.0, -4.0), (True, 4.0, 0.0)])
def test_a_shift_absorbs_its_share(positive: bool, wanted: float, absorbed: float) -> None:
    attrs = {"table": "t", "axis": 1}
    found = passed("Affine", [[[2.0]]], [[4.0]], positive, attrs, t=[[3.0], [-3.0]])  # 6 − 3 = 3
    close(found.inputs[0], [[wanted]])
    assert found.absorbed is not None
    close(found.absorbed, [absorbed])


def test_a_sum_shares_in_proportion() -> None:
    first, second = passed("Add", [[[3.0, 1.0]], [[1.0, -2.0]]], [[8.0, 1.0]]).inputs
    close(first, [[6.0, -1.0]])
    close(second, [[2.0, 2.0]])


def test_a_difference_shares_in_proportion() -> None:
    first, second = passed("Sub", [[[3.0]], [[1.0]]], [[4.0]]).inputs
    close(first, [[6.0]])
    close(second, [[-2.0]])


def test_the_factors_of_a_product_have_half_each() -> None:
    for part in passed("Mul", [[[3.0]], [[-1.0]]], [[4.0]]).inputs:
        close(part, [[2.0]])


def test_the_winner_of_a_pool_has_all() -> None:
    attrs = {"kernel_shape": (2,), "strides": (2,), "pads": (0, 0), "ceil_mode": 0}
    close(passed("MaxPool", [[[[1.0, 5.0, -3.0, -2.0]]]], [[[4.0, 7.0]]], attrs=attrs).inputs[0], [[[0.0, 4.0, 0.0, 7.0]]])
    close(passed("MaxPool", [[[[0.0, -1.0]]]], [[[4.0]]], attrs=attrs).inputs[0], [[[4.0, 0.0]]])


def test_an_average_shares_in_proportion() -> None:
    close(passed("GlobalAveragePool", [[[[1.0, 3.0]]]], [[[8.0]]]).inputs[0], [[[2.0, 6.0]]])


@pytest.mark.parametrize("op", ["Relu", "Sigmoid", "Tanh", "HardSwish"])
def test_activations_pass_relevance_on(op: str) -> None:
    close(passed(op, [[[0.5, 2.0]]], [[3.0, -4.0]]).inputs[0], [[3.0, -4.0]])


def test_moved_elements_keep_their_relevance_and_padding_absorbs_its_own() -> None:
    close(passed("Transpose", [[[[1.0, 2.0]]]], [[[3.0], [4.0]]], attrs={"perm": (0, 2, 1)}).inputs[0], [[[3.0, 4.0]]])
    attrs = {"axes": (1,), "starts": (1,), "stops": (3,), "steps": (1,)}
    close(passed("Slice", [[[1.0, 2.0, 3.0]]], [[5.0, 6.0]], attrs=attrs).inputs[0], [[0.0, 5.0, 6.0]])
    found = passed("Pad", [[[1.0, 2.0]]], [[9.0, 5.0, 6.0]], attrs={"begins": (0, 1), "ends": (0, 0)})
    close(found.inputs[0], [[5.0, 6.0]])
    assert found.absorbed is not None
    close(found.absorbed, [9.0])
