"""Block influence: a block is worth how much it changes the stream that it is added to.

Men et al.: ShortGPT, 2024, who measure the angle; here the share of energy, ‖f(x)‖² / ‖x + f(x)‖², over all samples,
which is on the scale of a channel's share of squared importance. It looks no further than the block itself.
"""

from __future__ import annotations

from secateur.criteria.blocks.registry import BlockEvidence, block_criterion
from secateur.twin import fixed_values, run


@block_criterion("block-influence")
def block_influence(evidence: BlockEvidence) -> dict[str, float]:
    """Return ‖f(x)‖² / ‖x + f(x)‖² of each block."""
    network, blocks = evidence.network, evidence.groups.blocks
    values, feed = fixed_values(network), next(iter(network.inputs))
    wanted = {name for block in blocks for name in (block.skip, block.add)}
    added, total = dict.fromkeys((b.id for b in blocks), 0.0), dict.fromkeys((b.id for b in blocks), 0.0)
    for batch in evidence.batches():
        tensors = run(network, {feed: batch}, values, wanted=wanted)
        for block in blocks:
            x, y = tensors[block.skip].double(), tensors[block.add].double()
            added[block.id] += float(((y - x) ** 2).sum())
            total[block.id] += float((y**2).sum())
    return {key: added[key] / max(total[key], 1e-30) for key in added}
