"""Channels of similar ranges, and the same outputs."""

from __future__ import annotations

import numpy as np
import pytest
from tests.compiler.networks import MAKERS, TOPOLOGIES, network_of, samples
from tests.compiler.unbalanced import unbalanced_master

from secateur.ir import Network, Table
from secateur.quantization import equalise
from secateur.quantization.equalisation import Equalisation
from secateur.twin import outputs_of


def applied(network: Network, found: Equalisation) -> Network:
    weights, tables = dict(network.weights), dict(network.tables)
    for name, (axis, factor) in found.weights.items():
        weights[name] = np.moveaxis(np.moveaxis(weights[name], axis, -1) * factor.astype(np.float32), -1, axis)
    for name, factor in found.tables.items():
        tables[name] = Table(tables[name].scale / factor, tables[name].shift / factor)
    return network.with_values(weights=weights, tables=tables)


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_no_output_changes(name: str, strength: float) -> None:
    network, x = network_of(name), samples(MAKERS[name][1], 32)
    other = applied(network, equalise(network, x).at(strength))
    before, after = outputs_of(network, x), outputs_of(other, x)
    assert isinstance(before, np.ndarray)
    np.testing.assert_allclose(after, before, atol=1e-4 * np.abs(before).max())


def test_the_channel_that_is_out_of_range_is_the_one_that_is_divided_most() -> None:
    master = unbalanced_master()
    found = equalise(master.network, master.calibration).at(1.0)
    assert int(found.tables["t1"].argmax()) == 3
    assert found.tables["t1"][3] > 20 * np.median(found.tables["t1"])
    axis, factor = found.weights["w2"]
    assert axis == 1
    np.testing.assert_array_equal(factor, found.tables["t1"])


def test_inputs_and_outputs_of_the_network_stay_as_they_are() -> None:
    master = unbalanced_master()
    found = equalise(master.network, master.calibration).at(1.0)
    assert "w0" not in found.weights, "it reads the input"
    assert "t3" not in found.tables, "it gives the output"
    assert {"t0", "t1", "t2"} == set(found.tables)
