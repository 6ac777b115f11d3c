"""Relevance as a criterion: it begins with the network's decision, and names what it has no rule for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compiler.evidence import evidence_for, evidence_of, with_network
from torch import Tensor, nn

from secateur.criteria import score
from secateur.criteria.lrp.criterion import decisions
from secateur.criteria.lrp.propagation import record
from secateur.twin import fixed_values


class SoftmaxWithin(nn.Module):
    """A softmax over positions in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv1d(2, 6, 3), nn.Conv1d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.softmax(self.first(x), 2))


def start_of(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    evidence = evidence_of(name)
    tensors = record(evidence.network, fixed_values(evidence.network), {"input": torch.from_numpy(evidence.inputs)})
    return tensors, decisions(evidence.network, tensors)


def test_relevance_begins_with_the_chosen_class() -> None:
    tensors, start = start_of("resnet-a")
    ((name, value),) = start.items()
    assert (value != 0).sum(1).tolist() == [1] * len(value)
    torch.testing.assert_close(value.sum(1), tensors[name].amax(1))


def test_relevance_begins_before_a_softmax() -> None:
    tensors, ((name, _),) = (lambda pair: (pair[0], pair[1].items()))(start_of("mixed"))
    assert not torch.allclose(tensors[name].sum(1), torch.ones(len(tensors[name])))
    torch.testing.assert_close(tensors["output"], tensors[name].softmax(1))


@pytest.mark.parametrize("name", ["lrp", "lrp-z-plus"])
def test_an_operator_without_a_rule_is_named_once(name: str) -> None:
    evidence = evidence_for(SoftmaxWithin(), (2, 9), 70)  # several batches
    found = score(name, evidence)
    (note,) = evidence.notes
    assert note.startswith(f"criterion {name}: Softmax (")
    assert "gradient × input" in note
    assert all(np.isfinite(value).all() for value in found.values())


@pytest.mark.parametrize("name", ["lrp", "lrp-z-plus"])
@pytest.mark.parametrize("topology", ["mixed", "mobilenet", "resnet-a"])
def test_other_networks_need_no_note(name: str, topology: str) -> None:
    evidence = evidence_of(topology)
    score(name, evidence)
    assert evidence.notes == []


@pytest.mark.parametrize("name", ["lrp", "lrp-z-plus"])
def test_what_decides_is_worth_most(name: str) -> None:
    evidence = evidence_of("mlp", 60)
    network = evidence.network
    weight = np.zeros_like(network.weights["w2"])
    weight[:, 4] = [3, -1, 2]  # one hidden channel alone makes the outputs
    found = score(name, with_network(evidence, network.with_values(weights={**network.weights, "w2": weight})))["g1"]
    assert found.argmax() == 4
    np.testing.assert_allclose(np.delete(found, 4), 0, atol=1e-9)
