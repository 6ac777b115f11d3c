"""Gate gradients say, to first order, what removing a channel where a weight reads it does to the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.compiler.evidence import evidence_for, evidence_of
from tests.compiler.networks import TOPOLOGIES, samples
from torch import Tensor, nn

from secateur.criteria import Evidence
from secateur.criteria.gates import gate_gradients
from secateur.criteria.reads import ELEMENTS, batches, reads, with_own_reads
from secateur.twin import fixed_values, run


class LinearResidual(nn.Module):
    """Without activations, so that the first order is all there is."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv1d(2, 6, 3), nn.Conv1d(6, 6, 3, padding=1)
        self.left, self.right = nn.Conv1d(6, 1, 1), nn.Conv1d(6, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.body(x)
        return self.left(x) + self.right(x)


def total(outputs: Mapping[str, Tensor], samples: slice) -> Tensor:
    return sum((value.double().sum() for value in outputs.values()), torch.zeros((), dtype=torch.float64))


def per_sample_total(evidence: Evidence, removed: tuple[str, int] | None) -> np.ndarray:
    """Return the sum of the outputs of each sample, with the column of a weight removed."""
    weights = dict(evidence.network.weights)
    if removed:
        weights[removed[0]] = weights[removed[0]].copy()
        weights[removed[0]][:, removed[1]] = 0
    network = evidence.network.with_values(weights=weights)
    feeds = {"input": torch.from_numpy(evidence.inputs).double()}
    (output,) = run(network, feeds, fixed_values(network, torch.float64)).values()
    return output.flatten(1).sum(1).numpy()


def test_a_gates_gradient_is_what_its_weight_loses_and_leaves_the_shortcut_alone() -> None:
    evidence = evidence_for(LinearResidual(), (2, 12), 5)
    ((group, found),) = next(iter(gate_gradients(evidence, "test", [total]))).items()
    (only,) = evidence.groups.groups
    assert group == only.id
    readers = [n.attrs["weight"] for n in evidence.network.nodes if "weight" in n.attrs][1:]
    assert found.shape == (3, 5, 6)  # body, left and right each have a gate
    kept = per_sample_total(evidence, None)
    wanted = {w: np.stack([kept - per_sample_total(evidence, (w, c)) for c in range(6)], 1) for w in readers}
    for gradients in found:
        assert any(np.allclose(gradients, values, rtol=1e-3, atol=1e-4) for values in wanted.values())
    np.testing.assert_allclose(found.sum(0), sum(wanted.values()), rtol=1e-3, atol=1e-4)


def test_each_objective_has_its_own_gradients_and_every_sample_its_turn() -> None:
    evidence = evidence_of("mlp", 150)
    found = list(gate_gradients(evidence, "test", [total, lambda outputs, part: 3 * total(outputs, part)]))
    assert [each["g0"].shape[1] for each in found] == [64, 64, 64, 64, 22, 22]
    np.testing.assert_allclose(found[1]["g0"], 3 * found[0]["g0"], rtol=1e-4, atol=1e-6)


def test_a_sample_does_not_depend_on_its_batch() -> None:
    evidence = evidence_of("resnet-a", 6)
    alone = Evidence(evidence.network, evidence.groups, evidence.inputs[2:3])
    together, single = (next(iter(gate_gradients(each, "test", [total]))) for each in (evidence, alone))
    for group, value in single.items():
        np.testing.assert_allclose(together[group][:, 2:3], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_reads_of_its_own_do_not_change_the_function(name: str) -> None:
    evidence = evidence_of(name)
    network, copies = with_own_reads(evidence.network)
    feeds = {"input": torch.from_numpy(samples(evidence.inputs.shape[1:], 4))}
    before, after = (run(each, feeds, fixed_values(each)) for each in (evidence.network, network))
    for output, value in before.items():
        torch.testing.assert_close(after[output], value)
    weighted = [node for node in network.nodes if node.weights]
    assert len({node.inputs for node in weighted}) == len(weighted) == len(copies)


def test_batches_of_a_large_network_are_small_and_cover_all_samples() -> None:
    network = evidence_of("mlp").network
    inputs = samples((10,), 7)
    large = replace(network, shapes={"all": (-1, ELEMENTS // 3)})
    assert batches(network, inputs) == [slice(0, 7)]
    assert batches(large, inputs) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert len(batches(replace(network, shapes={"all": (-1, 2 * ELEMENTS)}), inputs)) == 7


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_every_group_is_read_somewhere(name: str) -> None:
    evidence = evidence_of(name)
    found = reads(evidence.network, evidence.groups)
    assert {read.group for read in found} == {group.id for group in evidence.groups.groups}
    assert len({(read.tensor, read.axis, read.group) for read in found}) == len(found)
