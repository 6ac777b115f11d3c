"""TFLite files compute what the rung computes, share the base exactly, and move no axes but where the network does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.compiler.lite_files import ReadFile, read
from tests.compiler.networks import MAKERS, TOPOLOGIES, normal_form, samples, warmed
from tests.compiler.rungs import MadeRung, master_for, master_of, rung_of, twin_outputs
from torch import Tensor, nn

from secateur.evaluation import Session, check_rung, snr_db
from secateur.export import Cut, write_file
from secateur.export.tflite.rung import Unwritable
from secateur.ir import PRECISIONS, Network, Node, SecateurError, Table
from secateur.master import Master
from secateur.writing import file_of
from secateur_agent.bundle.materialise import materialise_bytes
from secateur_agent.bundle.recipe import decode_recipe, encode_recipe, inherit

WRITABLE = [name for name in TOPOLOGIES if name != "mixed"]
"""The other has a pool with dilation."""


def lite(master: Master, share: float, precision: str) -> MadeRung:
    return rung_of(master, share, precision, runtime="tflite")


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize(("precision", "least_db"), [("fp32", 100), ("fp16", 60), ("int8-weight-only", 35), ("int8", 25)])
def test_every_precision_computes_what_torch_computes(name: str, precision: str, least_db: float) -> None:
    master = master_of(name)
    x = samples(MAKERS[name][1], 16, seed=5)
    for share in (1.0, 0.4):
        rung = lite(master, share, precision)
        assert snr_db(twin_outputs(rung.network, x), Session(rung.data).run(x)) > least_db


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize("folded", [False, True])
def test_every_int8_weight_of_every_rung_is_the_slice_of_the_base(name: str, folded: bool) -> None:
    master = master_of(name, folded)
    for share in (1.0, 0.75, 0.3):
        rung = lite(master, share, "int8")
        index = master.index(rung.keep)
        found = [t.values for t in read(rung.data).tensors if t.values is not None and t.values.dtype == np.int8]
        expected = [master.quantized[key].values[np.ix_(*index[key])] for key in master.network.weights]
        assert len(found) == len(expected)
        for got, want in zip(found, expected):
            assert any(_lies_as(want, got, moved) for moved in ((0, 1, 2, 3), (0, 2, 3, 1), (1, 2, 3, 0)))


def _lies_as(want: np.ndarray, got: np.ndarray, moved: tuple[int, ...]) -> bool:
    """Whether a shared weight, (out, in / groups, kernel…), lies with its axes in this order."""
    if want.ndim == 2:
        return np.array_equal(want, got)
    full = want if want.ndim == 4 else want[:, :, None]
    return np.array_equal(full.transpose(moved), got)


@pytest.mark.parametrize("name", WRITABLE)
def test_rungs_share_a_program_and_materialise_to_the_same_bytes(name: str) -> None:
    master = master_of(name)
    for precision in ("int8", "fp32"):
        parent = lite(master, 1.0, precision)
        for share in (0.6, 0.2):
            rung = lite(master, share, precision)
            child = rung.child(parent)
            assert child is not None, "the rung's program differs from the parent's"
            shipped = decode_recipe(encode_recipe(child))
            assert (shipped.ops, shipped.literals) == ((), b"")
            assert materialise_bytes(inherit(shipped, parent.recipe), master.base(precision), "rung") == rung.data


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_sharing_costs_at_most_three_decibels(name: str, share: float) -> None:
    master = master_of(name)
    rung = lite(master, share, "int8")
    x = samples(MAKERS[name][1], 128, seed=5)
    ordinary = file_of(rung.network, master.calibration, "int8", runtime="tflite")
    gate = check_rung(rung.data, twin_outputs(rung.network, x), x, ordinary)
    assert gate.reason == ""
    assert gate.snr_db > 15


@pytest.mark.parametrize("name", ["resnet-a", "resnet-b", "mobilenet", "preactivation", "smartwatch"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_convolutional_network_has_no_transposes(name: str, precision: str) -> None:
    """ONNX files that were converted to TFLite were full of them (onnx-tensorflow#782)."""
    assert "TRANSPOSE" not in read(lite(master_of(name), 0.5, precision).data).names()


def test_only_where_an_image_is_flattened_its_channels_change_places() -> None:
    """A linear layer over a flattened image takes channel by channel, as the network was trained."""
    assert read(lite(master_of("vgg"), 0.5, "int8").data).names().count("TRANSPOSE") <= 1


def test_int8_files_compute_in_int8_throughout() -> None:
    """A missing bias quantization, or one scale for all channels, would keep fast kernels away."""
    found: ReadFile = read(lite(master_of("resnet-b"), 0.5, "int8").data)
    assert found.names()[0] == "QUANTIZE"
    assert found.names()[-1] == "DEQUANTIZE"
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(found.names()[1:-1])
    for name, inputs, _ in found.operators:
        if name == "CONV_2D":
            x, weight, bias = (found.tensors[i] for i in inputs)
            assert len(weight.scales) == weight.shape[0] == len(bias.scales) == len(bias.zero_points)
            np.testing.assert_array_equal(bias.scales, np.float32(weight.scales) * np.float32(x.scales[0]))
            assert set(weight.zero_points) == {0}
            assert weight.axis == 0


def test_a_depthwise_weight_has_its_channels_last() -> None:
    found = read(lite(master_of("mobilenet"), 0.5, "int8").data)
    weights = [found.tensors[inputs[1]] for name, inputs, _ in found.operators if name == "DEPTHWISE_CONV_2D"]
    assert weights
    assert all(weight.axis == 3 and len(weight.scales) == weight.shape[3] and weight.shape[0] == 1 for weight in weights)


def test_what_tflite_cannot_is_told_in_one_line() -> None:
    with pytest.raises(Unwritable, match=r"^tflite: MaxPool \(.*\) with dilation cannot be written; [^\n]*onnxruntime$"):
        lite(master_of("mixed"), 0.5, "fp32")
    assert issubclass(Unwritable, SecateurError)


class Branches(nn.Module):
    """Two branches whose ranges differ from rung to rung, joined."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.last = nn.Conv2d(1, 8, 3, 1, 1), nn.Conv2d(1, 8, 3, 1, 1), nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.cat((F.relu(self.left(x)), F.relu(self.right(x))), 1))


def branches() -> Master:
    return master_for(normal_form(warmed(Branches(), (1, 8, 8)), (1, 8, 8)), samples((1, 8, 8), 64))


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_neither_values_nor_a_single_channel_change_the_program(precision: str) -> None:
    """Whether two ranges happen to be equal, and a layer of one channel behind a grey image, look like something else."""
    master = branches()
    parent = lite(master, 1.0, precision)
    for scale in (0.1, 1.0, 10.0):
        left = master.network.tables[next(iter(master.network.tables))]
        tables = {**master.network.tables, next(iter(master.network.tables)): Table(left.scale * scale, left.shift * scale)}
        other = replace(master, network=master.network.with_values(tables=tables))
        for share in (1.0, 0.5, 0.01):
            assert lite(other, share, precision).child(parent) is not None


def test_a_number_compared_with_a_float_tensor_is_written() -> None:
    nodes = [
        Node("Greater", ("x",), "c", {"value": 0.5}),
        Node("Where", ("c", "x"), "y", {"computed": "cx", "constants": ("o",)}),
    ]
    shapes = dict.fromkeys("xcy", (-1, 4))
    network = Network({"x": (-1, 4)}, {"y": (-1, 4)}, nodes, {"o": np.zeros((1, 4), np.float32)}, {}, shapes)
    cut = Cut(network, {"o": (np.arange(1), np.arange(4))}, {"o": (1, 4)})
    data = write_file(cut, "tflite", PRECISIONS["fp32"]).recipe({"o": np.zeros((1, 4), "<f4")})[1]
    x = np.asarray([[0.2, 0.6, -1, 3]], np.float32)
    np.testing.assert_array_equal(Session(data).run(x), np.where(x > 0.5, x, 0))


@pytest.mark.parametrize("factor", [2, 3, 41, 47])
def test_nearest_neighbours_are_the_networks(factor: int) -> None:
    """In 32 bits TFLite's own operator picks the wrong row for some factors."""
    attrs = {
        "mode": "nearest",
        "scales": (1.0, 1.0, float(factor), 1.0),
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
        "cubic_coeff_a": -0.75,
    }
    shapes = {"x": (-1, 1, 2, 2), "y": (-1, 1, 2 * factor, 2)}
    network = Network({"x": shapes["x"]}, {"y": shapes["y"]}, [Node("Resize", ("x",), "y", attrs)], {}, {}, shapes)
    data = write_file(Cut(network, {}, {}), "tflite", PRECISIONS["fp32"]).recipe({})[1]
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(Session(data).run(x), np.repeat(x, factor, 2))
