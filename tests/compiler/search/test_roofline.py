"""The roofline: the longer of arithmetic and traffic, for each operator."""

from __future__ import annotations

import pytest
from tests.compiler import digits

from secateur.graph import find_groups
from secateur.search import Costs, Roofline
from secateur_profiles import load


def test_layers_that_stay_float_take_the_time_of_float() -> None:
    network = digits.network()
    groups = find_groups(network)
    costs, keep, profile = Costs(network, groups), groups.full(), load("raspberry-pi-4b")
    int8, fp32 = Roofline(profile, "int8"), Roofline(profile, "fp32")
    mixed = Roofline(profile, "int8", frozenset({"w1"}))
    extra = fp32.operator_ms(costs.layers(keep)["w1"]) - int8.operator_ms(costs.layers(keep)["w1"])
    assert extra > 0
    assert mixed.latency_ms(costs, keep) == pytest.approx(int8.latency_ms(costs, keep) + extra)
    assert set(costs.layers(keep)) == {"w0", "w1", "w2", "w3"}
