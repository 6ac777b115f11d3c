"""Fisher: the gradients of the layers that read a channel are added before they are squared."""

from __future__ import annotations

import numpy as np
from tests.compiler.evidence import evidence_for, evidence_of, with_network
from torch import Tensor, nn

from secateur.criteria import score


class TwoReaders(nn.Module):
    """Two layers read the same channels, and their outputs are added."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = nn.Conv1d(2, 6, 3), nn.Conv1d(6, 4, 1), nn.Conv1d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.left(x) + self.right(x)


def test_a_channel_whose_readers_cancel_is_worth_nothing_to_fisher_alone() -> None:
    evidence = evidence_for(TwoReaders(), (2, 12), 40)
    left, right = [node.attrs["weight"] for node in evidence.network.nodes if "weight" in node.attrs][1:]
    weights = {name: weight.copy() for name, weight in evidence.network.weights.items()}
    weights[right][:, 3] = -weights[left][:, 3]
    changed = with_network(evidence, evidence.network.with_values(weights=weights))
    ((_, fisher),) = score("fisher", changed).items()
    ((_, taylor),) = score("taylor", changed).items()
    assert fisher[3] < 1e-4
    assert np.delete(fisher, 3).min() > 0.05
    assert taylor[3] > 0.05


def test_louder_outgoing_weights_are_worth_more() -> None:
    evidence = evidence_of("mlp", 40)
    weight = evidence.network.weights["w1"].copy()
    weight[:, 5] *= 20
    louder = with_network(evidence, evidence.network.with_values(weights={**evidence.network.weights, "w1": weight}))
    assert score("fisher", louder)["g0"].argmax() == 5
