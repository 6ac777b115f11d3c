"""How a reshape pairs axes: which axes before and after it hold the same elements."""

from __future__ import annotations

from collections.abc import Sequence

Block = tuple[tuple[int, ...], tuple[int, ...]]
"""Axes before and axes after a reshape that hold the same elements; axes of size 1 are in no block."""


def reshape_blocks(before: Sequence[int], after: Sequence[int]) -> list[Block]:
    """Pair the smallest runs of axes.

    Args:
        before: sizes of the axes, −1 for the batch, which must be the first.
        after: likewise, of the reshaped tensor.
    """
    left = [(axis, size) for axis, size in enumerate(before) if axis and size != 1]
    right = [(axis, size) for axis, size in enumerate(after) if axis and size != 1]
    blocks: list[Block] = []
    while left and right:
        (axis, have), (other, got) = left.pop(0), right.pop(0)
        sources, targets = [axis], [other]
        while have != got:
            if have < got:
                if not left:
                    return blocks
                axis, size = left.pop(0)
                sources.append(axis)
                have *= size
            else:
                if not right:
                    return blocks
                other, size = right.pop(0)
                targets.append(other)
                got *= size
        blocks.append((tuple(sources), tuple(targets)))
    return blocks


def pure_reshape(before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether a reshape only splits axes and joins axes, but mixes none."""
    return all(len(sources) == 1 or len(targets) == 1 for sources, targets in reshape_blocks(before, after))
