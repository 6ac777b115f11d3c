"""Recoverability: a block is worth what its loss still costs at the output after a repair.

Wang, Wu: Practical Network Acceleration with Tiny Sets, CVPR 2023: drop each block by itself, repair the rest on a few
samples, and measure how far the network then is from the original. A large change that a scale and a shift make good
costs little; block influence cannot see that.
"""

from __future__ import annotations

import torch

from secateur.criteria.blocks.registry import BlockEvidence, block_criterion
from secateur.ir import Network
from secateur.twin import fixed_values, run


@block_criterion("recoverability")
def recoverability(evidence: BlockEvidence) -> dict[str, float]:
    """Return for each block the squared distance of the repaired network's outputs, over the outputs' variance."""
    original = _outputs(evidence, evidence.network)
    spread = float(((original - original.mean(0)) ** 2).sum())
    return {
        block.id: float(((_outputs(evidence, evidence.without(block.id)) - original) ** 2).sum()) / max(spread, 1e-30)
        for block in evidence.groups.blocks
    }


def _outputs(evidence: BlockEvidence, network: Network) -> torch.Tensor:
    values, feed = fixed_values(network), next(iter(network.inputs))
    return torch.cat([next(iter(run(network, {feed: batch}, values).values())).double() for batch in evidence.batches()])
