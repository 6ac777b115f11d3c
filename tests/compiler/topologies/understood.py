"""What every topology must show: loaded exactly, proved, cut for the most part, and the same in the real runtime."""

from __future__ import annotations

import io

import numpy as np
import onnx
import onnxruntime as ort
import onnxscript
import pytest
import torch
from tests.compiler.networks import Shape, samples, warmed
from torch import nn

from secateur.criteria import Evidence, score
from secateur.evaluation import Session, check_rung, snr_db
from secateur.export.tflite.rung import Unwritable
from secateur.graph import find_groups, prove, prove_sorted
from secateur.graph.proof import random_keeps
from secateur.ir import Groups, Network, arrays_of
from secateur.load import load_onnx
from secateur.load.torch_model import to_onnx
from secateur.master import Master
from secateur.pruning import cut, sort_groups
from secateur.search import Costs, coverage
from secateur.tuning import measure_statistics
from secateur.twin import fixed_values, run
from secateur.writing import file_of, program_of

LEAST_SHARE = 0.6


def enter(module: nn.Module, shape: Shape, warm: bool = True) -> list[Network]:
    """Bring a module to normal form twice: as a torch module, and as a file without source, batch norms folded into it.

    Both come of one export, which takes most of a test's time: `secateur.load.export_module` is ``load_onnx`` of the first,
    and the optimiser is what ``torch.onnx.export(..., optimize=True)`` runs. Loading compares each with ONNX Runtime.
    """
    model = to_onnx(warmed(module, shape) if warm else module, shape)
    folded = onnxscript.optimizer.optimize(onnx.ModelProto.FromString(model.SerializeToString()))
    makers = {node.output[0]: node.op_type for node in folded.graph.node}
    reads = [name for node in folded.graph.node for name in node.input]
    normalised = [node.input[0] for node in folded.graph.node if node.op_type == "BatchNormalization"]
    alone = {makers.get(name) for name in normalised if reads.count(name) == 1}
    assert not {"Conv", "Gemm"} & alone, "a batch norm that alone reads a layer is folded into it"
    return [load_onnx(model), load_onnx(folded)]


def check(
    network: Network, share: float = LEAST_SHARE, keeps: int = 2, cut_to: float = 0.5, not_in_tflite: str = ""
) -> Groups:
    """Prove a network, before and after sorting; check how much of it can be cut, and what a cut network computes.

    Args:
        network: in normal form.
        share: of the work that must lie in layers that can be cut.
        keeps: random keep-counts to prove with.
        cut_to: share of every group that the exported network keeps.
        not_in_tflite: why TFLite has no file of it; empty if it has.
    """
    groups = find_groups(network)
    found = coverage(network, groups)
    assert found.share >= share, dict(found.frozen)
    assert prove(network, groups, cut, random_keeps(groups, keeps)) <= 1e-9
    ordered = sort_groups(network, groups, score("magnitude-l2", Evidence(network, groups)))
    assert prove_sorted(network, ordered) <= 1e-9
    assert prove(ordered, groups, cut, random_keeps(groups, 1, seed=1)[1:]) <= 1e-9
    master = Master(ordered, groups, {}, [], np.zeros(0, np.float32))
    keep = {group.id: max(1, round(cut_to * group.size)) for group in groups.groups}
    small = cut(ordered, groups, keep)
    costs = Costs(network, groups)
    assert (costs.macs(keep), costs.params(keep)) == (coverage(small, Groups([])).macs, small.params)
    data = program_of(master, small, master.index(keep), "fp32").recipe(master.base("fp32"))[1]
    onnx.checker.check_model(onnx.load(io.BytesIO(data)), full_check=True)
    shape = next(iter(network.inputs.values()))[1:]
    x = samples(shape, 3)
    for name, expected, got in zip(small.outputs, twin(small, x), runtime(data, x)):
        assert snr_db(expected, got) > 100, name
    if not_in_tflite:
        with pytest.raises(Unwritable, match=not_in_tflite):
            program_of(master, small, master.index(keep), "fp32", runtime="tflite")
        return groups
    data = program_of(master, small, master.index(keep), "fp32", runtime="tflite").recipe(master.base("fp32"))[1]
    for name, expected, got in zip(small.outputs, twin(small, x), arrays_of(Session(data).outputs(x))):
        assert snr_db(expected, got) > 90, name
    return groups


def check_int8(
    network: Network, cut_to: float = 0.5, least_db: float = 15, loss_db: float = 3, in_tflite: bool = True
) -> None:
    """Check that a cut network in int8 is about as good as the same network quantized by itself.

    Args:
        network: in normal form.
        cut_to: share of every group that the network keeps.
        least_db: signal-to-noise ratio that it must have.
        loss_db: what sharing the base may cost; with next to no weights, chance alone makes a few decibels.
        in_tflite: whether TFLite has a file of it.
    """
    groups = find_groups(network)
    x = samples(next(iter(network.inputs.values()))[1:], 64)
    master = Master(network, groups, {}, [(groups.full(), measure_statistics(network, x))], x)
    keep = {group.id: max(1, round(cut_to * group.size)) for group in groups.groups}
    small = master.rung_network(keep)
    data = program_of(master, small, master.index(keep), "int8").recipe(master.base("int8"))[1]
    onnx.checker.check_model(onnx.load(io.BytesIO(data)), full_check=True)
    gate = check_rung(data, twin(small, x)[0], x, file_of(small, x, "int8"))
    assert gate.snr_db > max(least_db, min(gate.ordinary_snr_db, 40) - loss_db), gate
    if in_tflite:
        base, index = master.base("int8"), master.index(keep)
        data = program_of(master, small, index, "int8", runtime="tflite").recipe(base)[1]
        gate = check_rung(data, twin(small, x)[0], x, file_of(small, x, "int8", runtime="tflite"))
        assert gate.snr_db > max(least_db, min(gate.ordinary_snr_db, 40) - loss_db), gate


def twin(network: Network, x: np.ndarray) -> list[np.ndarray]:
    """Return all outputs in torch."""
    with torch.no_grad():
        found = run(network, {next(iter(network.inputs)): torch.from_numpy(x)}, fixed_values(network))
    return [value.numpy() for value in found.values()]


def runtime(data: bytes, x: np.ndarray) -> list[np.ndarray]:
    """Return all outputs of a model file in ONNX Runtime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})
