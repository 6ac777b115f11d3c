"""Rungs without a block compute in the runtime what they compute in torch, from the same base."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
from tests.compiler.networks import MAKERS, samples
from tests.compiler.rungs import master_of, rung_of, twin_outputs

from secateur.evaluation import Session, check_rung
from secateur.quantization import measure_ranges, parameters
from secateur.writing import file_of
from secateur_agent.bundle.materialise import materialise_bytes
from secateur_agent.bundle.recipe import decode_recipe, encode_recipe, inherit

RESIDUAL = ["resnet-a", "resnet-b", "mobilenet", "preactivation"]


@pytest.mark.parametrize("name", RESIDUAL)
@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_every_block_can_be_missing(name: str, folded: bool, precision: str) -> None:
    master = master_of(name, folded)
    x = samples(MAKERS[name][1], 128, seed=5)
    whole = rung_of(master, 1.0, precision)
    blocks = [block.id for block in master.groups.blocks]
    for share, dropped in ((1.0, tuple(blocks)), (0.6, (blocks[0],))):
        rung = rung_of(master, share, precision, dropped)
        onnx.checker.check_model(onnx.load(io.BytesIO(rung.data)), full_check=True)
        assert len(rung.network.nodes) < len(whole.network.nodes)
        assert len(rung.data) < len(whole.data)
        ordinary = file_of(rung.network, master.calibration, "int8") if precision == "int8" else None
        gate = check_rung(rung.data, twin_outputs(rung.network, x), x, ordinary)
        assert gate.reason == ""
        assert gate.snr_db > (15 if precision == "int8" else 100)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_its_weights_are_slices_of_the_base_and_those_of_the_block_are_not_in_its_file(precision: str) -> None:
    master = master_of("mobilenet")
    rung = rung_of(master, 0.5, precision, ("b1",))
    inside = {name for node in master.network.nodes if node.output in master.groups.blocks[1].nodes for name in node.weights}
    index, base = master.index(rung.keep), master.base(precision)
    assert set(index) == set(rung.network.weights) == set(master.network.weights) - inside
    assert set(base) == set(master.network.weights)
    tensors = {op.tensor for op in rung.recipe.ops if hasattr(op, "tensor")}
    assert tensors == set(index)
    for name, kept in index.items():
        piece = np.ascontiguousarray(base[name][np.ix_(*kept)])
        assert piece.tobytes() in rung.data


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_it_has_a_program_of_its_own_which_rungs_with_the_same_blocks_share(precision: str) -> None:
    master = master_of("preactivation")
    whole, parent = rung_of(master, 1.0, precision), rung_of(master, 0.8, precision, ("b1",))
    assert parent.child(whole) is None
    assert rung_of(master, 0.5, precision, ("b0", "b1")).child(parent) is None
    rung = rung_of(master, 0.5, precision, ("b1",))
    child = rung.child(parent)
    assert child is not None, "the rung's program differs from that of another with the same blocks"
    shipped = decode_recipe(encode_recipe(child))
    assert shipped.literals == b""
    assert materialise_bytes(inherit(shipped, parent.recipe), master.base(precision), "rung") == rung.data


def test_no_activation_of_the_block_has_parameters() -> None:
    master = master_of("mobilenet")
    rung = rung_of(master, 1.0, "int8", ("b0",))
    found = parameters(rung.network, measure_ranges(rung.network, master.calibration))
    assert set(found) == set(rung.network.shapes) == set(master.network.shapes) - set(master.groups.blocks[0].nodes)


def test_any_batch_size_runs() -> None:
    session = Session(rung_of(master_of("resnet-b"), 0.5, "int8", ("b0",)).data)
    x = samples(MAKERS["resnet-b"][1], 7)
    np.testing.assert_allclose(np.concatenate([session.run(x[i : i + 1]) for i in range(7)]), session.run(x), atol=1e-6)
