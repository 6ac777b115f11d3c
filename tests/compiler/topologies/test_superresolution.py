"""Super-resolution with pixel shuffle (Shi et al., 2016): channels become positions, in the middle and at the end."""

from __future__ import annotations

import torch.nn.functional as F
from tests.compiler.topologies.understood import check, check_int8, enter
from torch import Tensor, nn


class Enlarge(nn.Module):
    """A pixel unshuffle before, a shuffle in the middle whose result is worked on, and one at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 12, 3, 1, 1), nn.Conv2d(12, 16, 3, 1, 1)
        self.bn = nn.BatchNorm2d(12)
        self.slope = nn.PReLU(12)
        self.third, self.last = nn.Conv2d(4, 8, 3, 1, 1), nn.Conv2d(8, 4, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.slope(self.bn(self.first(F.pixel_unshuffle(x, 2))))
        x = F.relu(self.third(F.pixel_shuffle(self.second(x), 2)))
        return F.pixel_shuffle(self.last(x), 2)


def test_super_resolution() -> None:
    for network in enter(Enlarge(), (1, 8, 8)):
        assert {"DepthToSpace", "SpaceToDepth", "PRelu"} <= {node.op for node in network.nodes}
        groups = check(network)
        check_int8(network)
        sizes = {group.source: group.size for group in groups.groups}
        assert sizes["second"] == 4, "four channels, each of which becomes the positions of one"
