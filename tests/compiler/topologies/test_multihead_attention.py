"""nn.MultiheadAttention: it moves the batch and joins it with the heads; all of that dissolves."""

from __future__ import annotations

from functools import partial

import pytest
from tests.compiler.sequence_networks import HEADS, STEPS, WIDTH, MultiHead, check, exported, seeded

INPUT = {"input": ((STEPS, WIDTH), "float32")}
BATCH_FIRST, STEPS_FIRST = partial(MultiHead, True), partial(MultiHead, False)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("make", [BATCH_FIRST, STEPS_FIRST])
def test_whole_heads_are_cut(make: partial[MultiHead], folded: bool) -> None:
    checked = check(exported(seeded(make), INPUT, folded))
    assert [group.size for group in checked.groups.groups] == [HEADS]
    assert checked.share > 0.9
