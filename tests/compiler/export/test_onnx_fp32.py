"""Float rungs compute what the torch twin does."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
from networks import MAKERS, TOPOLOGIES, samples
from onnx import numpy_helper
from rungs import master_of, rung_of, twin_outputs

from secateur.evaluation import Session, snr_db


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_rung_equals_its_twin_at_every_batch_size(name: str, share: float) -> None:
    rung = rung_of(master_of(name), share, "fp32")
    onnx.checker.check_model(onnx.load(io.BytesIO(rung.data)), full_check=True)
    session = Session(rung.data)
    for count in (1, 7):
        x = samples(MAKERS[name][1], count)
        assert snr_db(twin_outputs(rung.network, x), session.run(x)) > 100


def test_weights_are_exactly_slices_of_the_base() -> None:
    master = master_of("mobilenet")
    rung = rung_of(master, 0.5, "fp32")
    found = [numpy_helper.to_array(tensor) for tensor in onnx.load(io.BytesIO(rung.data)).graph.initializer]
    index = master.index(rung.keep)
    for name, weight in master.network.weights.items():
        expected = weight[np.ix_(*index[name])]
        assert any(value.shape == expected.shape and (value == expected).all() for value in found), name


def test_depthwise_groups_are_those_of_the_rung() -> None:
    rung = rung_of(master_of("mobilenet"), 0.25, "fp32")
    nodes = onnx.load(io.BytesIO(rung.data)).graph.node
    groups = {attribute.i for node in nodes for attribute in node.attribute if attribute.name == "group"}
    assert groups == {1, 8, 16}
