"""The layer that int8 hurts most is found."""

from __future__ import annotations

import digits
from unbalanced import unbalanced_master

from secateur.quantization import layer_sensitivities, measure_ranges, parameters
from secateur.quantizing import as_written


def test_the_layer_that_reads_the_unbalanced_tensor_costs_most_and_float_layers_cost_nothing() -> None:
    master, x = unbalanced_master(), digits.arrays()[1][:64]
    full = master.groups.full()
    network, index = master.rung_network(full), master.index(full)
    found = parameters(network, measure_ranges(network, master.calibration))
    written = as_written(master, network, index, found)
    told: list[tuple[int, int]] = []
    whole, parts = layer_sensitivities(
        network, written, set(master.quantized), found, False, x, lambda done, total: told.append((done, total))
    )
    assert set(parts) == {"w0", "w1", "w2", "w3"}
    assert max(parts, key=lambda name: parts[name]) == "w2"
    assert parts["w2"] > 0.5 * whole > 0
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
