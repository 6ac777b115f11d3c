"""Float rungs compute what the torch twin does."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from tests.compiler.networks import MAKERS, TOPOLOGIES, samples
from tests.compiler.rungs import master_of, rung_of, twin_outputs

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


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_sixteen_bit_weights_are_slices_of_the_base_and_cost_next_to_nothing(name: str) -> None:
    master = master_of(name)
    rung = rung_of(master, 0.5, "fp16")
    x = samples(MAKERS[name][1], 7)
    assert snr_db(twin_outputs(rung.network, x), Session(rung.data).run(x)) > 55
    base, index = master.base("fp16"), master.index(rung.keep)
    initializers = onnx.load(io.BytesIO(rung.data)).graph.initializer
    found = [numpy_helper.to_array(tensor) for tensor in initializers if tensor.data_type == TensorProto.FLOAT16]
    for key, weight in base.items():
        expected = weight[np.ix_(*index[key])]
        assert any((value if value.shape == expected.shape else value.T).tolist() == expected.tolist() for value in found), (
            key
        )
    assert 2 * sum(w.nbytes for w in base.values()) == sum(w.nbytes for w in master.base("fp32").values())


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_eight_bit_weights_alone_are_nearer_than_eight_bit_activations_too(name: str) -> None:
    master = master_of(name)
    x = samples(MAKERS[name][1], 32)
    ratios = {}
    for precision in ("int8-weight-only", "int8"):
        rung = rung_of(master, 0.5, precision)
        onnx.checker.check_model(onnx.load(io.BytesIO(rung.data)), full_check=True)
        ratios[precision] = snr_db(twin_outputs(rung.network, x), Session(rung.data).run(x))
    assert ratios["int8-weight-only"] > ratios["int8"]
