"""What is simulated in torch is what the file computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from tests.compiler.networks import MAKERS, TOPOLOGIES, samples
from tests.compiler.rungs import master_of

from secateur.evaluation import Session, snr_db
from secateur.ir import ActivationParameters, Network, Table
from secateur.master import Indexes, Master
from secateur.quantization import measure_ranges, parameters, rounding, weight_scales
from secateur.quantization.simulation import rounded
from secateur.quantizing import stored
from secateur.twin import outputs_of
from secateur.writing import program_of


def as_written(master: Master, network: Network, index: Indexes, activations: Mapping[str, ActivationParameters]) -> Network:
    """Return a rung with the weights and the scales that its file has; a scale has fewer digits there.

    Args:
        master: what it is cut from.
        network: the rung.
        index: weight → kept indices of each axis.
        activations: quantization parameters of tensors; empty if they stay float.
    """
    rows = {name: axes[0] for name, axes in index.items()}
    scales = weight_scales(network, master.quantized, rows, activations)
    affines = network.affines()
    tables = dict(network.tables)
    for node in network.nodes:
        if (name := node.attrs.get("weight")) in scales:
            table, base = affines[node.output].attrs["table"], master.quantized[name].scale[rows[name]]
            tables[table] = Table((scales[name] / base).astype(np.float32), tables[table].shift)
    return stored(master, network, index).with_values(tables=tables)


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("precision", ["int8", "int8-symmetric"])
def test_a_simulated_rung_is_nearer_to_its_file_than_the_float_one(name: str, precision: str) -> None:
    master = master_of(name)
    keep = {group.id: max(1, group.size // 2) for group in master.groups.groups}
    network, index, x = master.rung_network(keep), master.index(keep), samples(MAKERS[name][1], 64)
    ranges = measure_ranges(network, master.calibration)
    data = program_of(master, network, index, precision, ranges).recipe(master.base(precision))[1]
    symmetric = precision == "int8-symmetric"
    found = parameters(network, ranges, symmetric)
    hook = rounding(network, set(master.quantized), found, symmetric)
    got = Session(data).run(x)
    simulated, exact = outputs_of(as_written(master, network, index, found), x, hook), outputs_of(network, x)
    assert isinstance(simulated, np.ndarray)
    assert isinstance(exact, np.ndarray)
    assert snr_db(got, simulated) > snr_db(got, exact) + 6


def test_the_gradient_passes_where_nothing_is_clipped() -> None:
    x = torch.tensor([-5.0, -0.4, 0.2, 9.0], requires_grad=True)
    rounded(x, ActivationParameters(0.05, 0)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0, 1.0, 0.0]
