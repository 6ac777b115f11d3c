"""Convolutions and attention in one network: shuffled channels, attention over positions, a decoder, a table of tokens."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.compiler.sequence_networks import check, exported, seeded
from torch import Tensor, nn

HEADS, DEPTH = 4, 6
WIDTH = HEADS * DEPTH


class Hybrid(nn.Module):
    """As MobileViT (Mehta, Rastegari, 2022), with a channel shuffle and a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(3, 8, 5, 2, 2)
        self.project = nn.Conv2d(16, WIDTH, 1)
        self.tokens = nn.Embedding(11, WIDTH)
        self.norm, self.qkv, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fuse, self.up, self.last = nn.Conv2d(2 * WIDTH, 12, 1), nn.ConvTranspose2d(12, 10, 2, 2), nn.Conv2d(10, 2, 1)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        x = torch.cat((F.relu(self.left(x)), F.relu(self.right(x))), 1)
        batch, channels, height, width = x.shape
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)
        x = self.project(x)
        steps = torch.cat((x.flatten(2).transpose(1, 2), self.tokens(ids)), 1)
        shape = (batch, steps.shape[1], HEADS, DEPTH)
        q, k, v = (part.reshape(shape).transpose(1, 2) for part in self.qkv(self.norm(steps)).chunk(3, 2))
        seen = (torch.softmax(q @ k.transpose(2, 3) * DEPTH**-0.5, 3) @ v).transpose(1, 2).reshape(batch, -1, WIDTH)
        y = self.out(seen)[:, : height * width].transpose(1, 2).reshape(batch, WIDTH, height, width)
        return self.last(F.relu(self.up(F.relu(self.fuse(torch.cat((x, y), 1))))))


@pytest.mark.parametrize("folded", [False, True])
def test_shuffled_channels_and_heads_are_cut(folded: bool) -> None:
    example = {"input": ((3, 8, 8), "float32"), "ids": ((5,), "int64")}
    checked = check(exported(seeded(Hybrid), example, folded))
    operators = {node.op for node in checked.network.nodes}
    assert {"Take", "MatMul", "ConvTranspose", "Embedding", "Concat"} <= operators
    # Both convolutions before the shuffle, the heads, what attention gives, and what is around the transposed one.
    sizes = sorted(group.size for group in checked.groups.groups)
    assert sizes == [HEADS, 8, 8, 10, 12, WIDTH]
    assert checked.share > 0.6
