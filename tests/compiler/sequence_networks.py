"""Small sequence networks (transformers, recurrent layers, several inputs and outputs), and what all must pass."""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.criteria import Evidence, score
from secateur.evaluation import Session
from secateur.export import Cut, write_file
from secateur.export.tflite.rung import Unwritable
from secateur.graph import find_groups, prove, prove_sorted
from secateur.graph.proof import random_keeps
from secateur.ir import PRECISIONS, Groups, Network, arrays_of, samples_of
from secateur.load import load_onnx
from secateur.load.torch_model import to_onnx
from secateur.pruning import cut, sort_groups
from secateur.search import Costs
from secateur.twin import fixed_values, random_input, run

torch.set_num_threads(1)
WIDTH, HEADS, STEPS, IDS = 24, 4, 7, 30


class Attention(nn.Module):
    """Self-attention written out, with one weight for queries, keys and values, as vision transformers have it."""

    def __init__(self, width: int = WIDTH, heads: int = HEADS) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, width = x.shape
        parts = self.qkv(x).reshape(batch, steps, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        return self.out(y.transpose(1, 2).reshape(batch, steps, width))


class Block(nn.Module):
    """A transformer block, norm first."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(width), Attention(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Patches by a convolution, a class token, learnt positions, two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.positions = nn.Parameter(torch.randn(1, 10, WIDTH))
        self.blocks = nn.Sequential(Block(), Block())
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


class Bert(nn.Module):
    """An encoder as BERT has it: integer tokens, norm last, Gelu, first token classified."""

    def __init__(self, ids: bool = True) -> None:
        super().__init__()
        self.words = nn.Embedding(IDS, WIDTH) if ids else nn.Identity()
        self.positions, self.norm = nn.Embedding(STEPS, WIDTH), nn.LayerNorm(WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 3 * WIDTH, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.words(x) + self.positions(torch.arange(STEPS)))
        return self.head(torch.tanh(self.encoder(x)[:, 0]))


class MaskedAttention(nn.Module):
    """Attention with a mask as second input and the scores as second output."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.hidden, self.out = nn.Linear(WIDTH, 16), nn.Linear(16, 5)
        self.words = nn.Embedding(IDS, WIDTH)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = self.words(ids)

        def heads(y: Tensor) -> Tensor:
            return y.reshape(x.shape[0], STEPS, HEADS, WIDTH // HEADS).transpose(1, 2)

        scores = heads(self.q(x)) @ heads(self.k(x)).transpose(2, 3) / 2 + (1 - mask)[:, None, None, :] * -1e4
        y = torch.softmax(scores, -1) @ heads(self.v(x))
        y = self.out(torch.relu(self.hidden(y.transpose(1, 2).reshape(x.shape[0], STEPS, WIDTH))))
        return y.mean(1), y


class MultiHead(nn.Module):
    """torch's own attention, which puts the sequence first and joins heads with the batch."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(WIDTH), nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first)
        self.batch_first = batch_first

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x if self.batch_first else x.transpose(0, 1))
        y = self.attention(x, x, x, need_weights=False)[0]
        return y if self.batch_first else y.transpose(0, 1)


class Recurrent(nn.Module):
    """Convolutions over time, then a recurrent layer."""

    def __init__(self, layer: Callable[..., nn.Module], bidirectional: bool = False, last: bool = False) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv1d(3, 32, 3, 1, 1), nn.Conv1d(32, 32, 3, 1, 1), nn.Conv1d(32, 8, 3, 2, 1)
        self.layer = layer(8, 6, batch_first=True, bidirectional=bidirectional)
        self.head, self.last = nn.Linear(12 if bidirectional else 6, 4), last

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv3(torch.relu(self.conv2(torch.relu(self.conv1(x))))))
        y, state = self.layer(x.transpose(1, 2))
        state = state[0] if isinstance(state, tuple) else state
        return self.head(state.transpose(0, 1).flatten(1) if self.last else y.mean(1))


Example = Mapping[str, tuple[tuple[int, ...], str]]


@dataclass(frozen=True)
class Checked:
    """A network that passed `check`."""

    network: Network
    groups: Groups
    share: float


def exported(module: nn.Module, example: Example, folded: bool) -> onnx.ModelProto:
    """Export with torch's new exporter, as Secateur does, or with the old one, which folds and optimises."""
    module = module.eval()
    if not folded:
        return to_onnx(module, example)
    buffer, names = io.BytesIO(), list(example)
    inputs = tuple(torch.zeros((2, *shape), dtype=getattr(torch, dtype)) for shape, dtype in example.values())
    with torch.no_grad():
        outputs = module(*inputs)
    made = [f"output{number}" for number in range(len(outputs) if isinstance(outputs, tuple) else 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            inputs,
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=names,
            output_names=made,
            dynamic_axes={name: {0: "batch"} for name in (*names, *made)},
        )
    return onnx.load_from_string(buffer.getvalue())


def cuttable_share(network: Network, groups: Groups) -> float:
    """Share of multiply-accumulates in operators that get cheaper when channels are cut."""
    costs = Costs(network, groups)
    full, least = costs.of(groups.full()), costs.of({group.id: 1 for group in groups.groups})
    return sum(a.macs for a, b in zip(full, least) if b.macs < a.macs) / sum(a.macs for a in full)


def rung_file(
    network: Network, groups: Groups, keep: Mapping[str, int], runtime: str = "onnxruntime"
) -> tuple[Network, bytes]:
    """Cut a network and export it as float32."""
    small = cut(network, groups, keep)
    index = {
        name: tuple(groups.kept((f"weight:{name}", axis), size, keep) for axis, size in enumerate(weight.shape))
        for name, weight in network.weights.items()
    }
    base = {name: weight.astype("<f4") for name, weight in network.weights.items()}
    shapes = {name: weight.shape for name, weight in network.weights.items()}
    return small, write_file(Cut(small, index, shapes), runtime, PRECISIONS["fp32"]).recipe(base)[1]


def random_feeds(network: Network, batch: int = 3) -> dict[str, Tensor]:
    """Random inputs."""
    generator = torch.Generator().manual_seed(5)
    return {name: random_input(network, name, batch, generator) for name in network.inputs}


def in_onnxruntime(data: bytes, feeds: Mapping[str, Tensor]) -> list[NDArray[Any]]:
    """Run a file in ONNX Runtime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in feeds.items()})  # type: ignore[no-any-return]


def check(model: onnx.ModelProto, batch: int = 3, not_in_tflite: str = "") -> Checked:
    """Load a model (which compares it with ONNX Runtime), prove its groups, cut it to half, export it, run it.

    Args:
        model: the file.
        batch: samples that the cut network is run on.
        not_in_tflite: why TFLite has no file of it; empty if it has.
    """
    network = load_onnx(model)
    groups = find_groups(network)
    assert prove(network, groups, cut, random_keeps(groups, 2)) <= 1e-9
    ordered = sort_groups(network, groups, score("magnitude-l2", Evidence(network, groups)))
    assert prove_sorted(network, ordered) <= 1e-9
    keep = {group.id: max(1, group.size // 2) for group in groups.groups}
    small, data = rung_file(ordered, groups, keep)
    feeds = random_feeds(network, batch)
    with torch.no_grad():
        expected = run(small, feeds, fixed_values(small))
    for reference, got in zip(expected.values(), in_onnxruntime(data, feeds), strict=True):
        assert got.shape == tuple(reference.shape)
        assert np.abs(got - reference.numpy()).max() <= 1e-4 * max(1.0, float(reference.abs().max()))
    if not_in_tflite:
        with pytest.raises(Unwritable, match=not_in_tflite):
            rung_file(ordered, groups, keep, "tflite")
    else:
        data = rung_file(ordered, groups, keep, "tflite")[1]
        inputs = samples_of([value.numpy() for value in feeds.values()])
        for reference, got in zip(expected.values(), arrays_of(Session(data).outputs(inputs)), strict=True):
            assert got.shape == tuple(reference.shape)
            assert np.abs(got - reference.numpy()).max() <= 1e-4 * max(1.0, float(reference.abs().max()))
    return Checked(network, groups, cuttable_share(network, groups))


@cache
def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """Return a module with the same random weights each time."""
    torch.manual_seed(0)
    return make().eval()


def installed_file(package: str, path: str) -> Path:
    """Return a model file of an installed distribution; skip the test if it is not there."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package} is not installed; 'make setup' installs it")
    return Path(found.submodule_search_locations[0]) / path


def with_fixed_inputs(path: Path, sizes: Mapping[str, tuple[int | str, ...]]) -> onnx.ModelProto:
    """Read a model and fix the sizes of its inputs, as a user does before deployment; a text names a free size."""
    model = onnx.load(path)
    for value in model.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, sizes.get(value.name, ())):
            dim.Clear()
            if isinstance(size, int):
                dim.dim_value = size
            else:
                dim.dim_param = size
    return model
