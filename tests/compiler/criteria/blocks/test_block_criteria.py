"""What blocks are worth: a branch that does nothing is worth nothing; what a scale makes good is worth little."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from tests.compiler import digits, networks
from torch import Tensor, nn

from secateur.criteria.blocks import BLOCK_CRITERIA, BlockEvidence, score_blocks
from secateur.dropping import repaired
from secateur.graph import find_groups
from secateur.ir import Network, SecateurError
from secateur.tuning import measure_statistics
from secateur.twin import fixed_values, run


def evidence_of(network: Network, x: np.ndarray) -> BlockEvidence:
    groups, statistics = find_groups(network), measure_statistics(network, x)

    def without(block: str) -> Network:
        return repaired(network, groups, {**groups.full(), block: 0}, statistics, x)

    return BlockEvidence(network, groups, x, without)


class Scaling(nn.Module):
    """The first branch triples the stream, which the next layer can make good; the second shuffles it, which none can."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.triple, self.shuffle = nn.Linear(6, 12), nn.Linear(12, 12, bias=False), nn.Linear(12, 12, bias=False)
        self.between, self.mix, self.head = nn.BatchNorm1d(12), nn.Linear(12, 12), nn.Linear(12, 3)
        with torch.no_grad():
            self.triple.weight.copy_(2 * torch.eye(12))
            self.shuffle.weight.copy_(torch.eye(12).roll(1, 0))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.between(x + self.triple(x))
        x = x + self.shuffle(x)
        return self.head(torch.relu(self.mix(x)))


@pytest.fixture(scope="module")
def scaling() -> BlockEvidence:
    torch.manual_seed(0)
    network = networks.normal_form(Scaling(), (6,))
    return evidence_of(network, networks.samples((6,), 200))


def test_influence_is_the_share_of_energy_that_the_branch_adds(scaling: BlockEvidence) -> None:
    scores = score_blocks("block-influence", scaling)
    assert scores["b0"] == pytest.approx(4 / 9, rel=1e-4)
    block = scaling.groups.blocks[1]
    feeds = {"input": torch.from_numpy(scaling.inputs)}
    with torch.no_grad():
        x, y = run(scaling.network, feeds, fixed_values(scaling.network), wanted=[block.skip, block.add]).values()
    assert scores["b1"] == pytest.approx(float(((y - x) ** 2).sum() / (y**2).sum()), rel=1e-4)


def test_recoverability_sees_that_the_next_layer_can_make_it_good(scaling: BlockEvidence) -> None:
    scores = score_blocks("recoverability", scaling)
    assert scores["b0"] < 1e-6
    assert scores["b1"] > 0.1
    assert score_blocks("block-influence", scaling)["b0"] > 0.4


@pytest.mark.parametrize("name", sorted(BLOCK_CRITERIA))
def test_a_branch_that_does_nothing_is_worth_nothing(name: str) -> None:
    network = digits.residual_network()
    groups = find_groups(network)
    inside = [node for node in network.nodes if node.output in groups.blocks[2].nodes and node.op == "Affine"]
    table = network.tables[inside[-1].attrs["table"]]
    silent = type(table)(0 * table.scale, 0 * table.shift)
    quiet = network.with_values(tables={**network.tables, inside[-1].attrs["table"]: silent})
    scores = score_blocks(name, evidence_of(quiet, digits.task().inputs("calibration")[:128]))
    assert scores["b2"] == pytest.approx(0.0, abs=1e-4)
    assert all(value > 0.01 for block, value in scores.items() if block != "b2")
    assert all(np.isfinite(value) for value in scores.values())


def test_an_unknown_criterion_is_named_with_those_there_are(scaling: BlockEvidence) -> None:
    with pytest.raises(SecateurError, match=r"block criterion 'vibes'.*block-influence, recoverability") as caught:
        partial(score_blocks, "vibes")(scaling)
    assert "\n" not in str(caught.value)
