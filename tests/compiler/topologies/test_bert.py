"""Encoders as BERT: from float embeddings and from integer tokens; with a mask as second input and two outputs."""

from __future__ import annotations

from functools import partial

import pytest
from tests.compiler.sequence_networks import IDS, STEPS, WIDTH, Bert, MaskedAttention, check, exported, seeded

from secateur.twin.feeds import id_limit

FLOATS, TOKENS = {"input": ((STEPS, WIDTH), "float32")}, {"input": ((STEPS,), "int64")}
FROM_FLOATS, FROM_TOKENS = partial(Bert, False), Bert


@pytest.mark.parametrize("folded", [False, True])
def test_an_encoder_of_floats_is_cut(folded: bool) -> None:
    checked = check(exported(seeded(FROM_FLOATS), FLOATS, folded))
    assert sorted(group.size for group in checked.groups.groups) == [4, 4, 72, 72]
    assert checked.share > 0.9


@pytest.mark.parametrize("folded", [False, True])
def test_an_encoder_of_integer_tokens_is_cut(folded: bool) -> None:
    checked = check(exported(seeded(FROM_TOKENS), TOKENS, folded))
    assert checked.network.dtype("input") == "int64"
    assert id_limit(checked.network, "input") == IDS
    assert sorted(group.size for group in checked.groups.groups) == [4, 4, 72, 72]
    assert checked.share > 0.9


@pytest.mark.parametrize("folded", [False, True])
def test_two_inputs_and_two_outputs(folded: bool) -> None:
    example = {"ids": ((STEPS,), "int64"), "mask": ((STEPS,), "float32")}
    checked = check(exported(seeded(MaskedAttention), example, folded))
    assert list(checked.network.inputs) == ["ids", "mask"]
    assert len(checked.network.outputs) == 2
    assert [group.size for group in checked.groups.groups] == [4, 16]
    assert checked.share > 0.9
