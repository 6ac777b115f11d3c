"""Vision transformers: heads and the widths of the MLPs are cut; the residual stream is a barrier (layer norm)."""

from __future__ import annotations

import onnx
import pytest
import torch
from tests.compiler.sequence_networks import VisionTransformer, check, exported, random_feeds, rung_file, seeded

from secateur.graph import find_groups, prove
from secateur.load import load_onnx
from secateur.pruning import cut
from secateur.twin import fixed_values, run

IMAGE = {"input": ((3, 12, 12), "float32")}


@pytest.mark.parametrize("folded", [False, True])
def test_heads_and_mlp_widths_are_cut(folded: bool) -> None:
    checked = check(exported(seeded(VisionTransformer), IMAGE, folded))
    assert sorted(group.size for group in checked.groups.groups) == [4, 4, 72, 72]
    assert checked.share > 0.9
    assert any("layer norm" in reason for reason in checked.groups.barriers.values())


def test_heads_are_cut_whole() -> None:
    checked = check(exported(seeded(VisionTransformer), IMAGE, True))
    heads = checked.groups.groups[0]
    columns = next(members for (name, axis), members in heads.members.items() if name.startswith("weight:") and axis == 0)
    assert columns.tolist()[1] == [*range(6, 12), *range(30, 36), *range(54, 60)]


def test_a_network_whose_heads_were_cut_can_be_exported_and_loaded_again() -> None:
    """Hard-coded shapes and heads break attention (neural-compressor#525); reload or export after pruning fails
    (distiller#447, ultralytics#16806)."""
    checked = check(exported(seeded(VisionTransformer), IMAGE, True))
    small, data = rung_file(checked.network, checked.groups, {group.id: group.size - 1 for group in checked.groups.groups})
    again = load_onnx(onnx.load_from_string(data))
    feeds = random_feeds(again)
    with torch.no_grad():
        expected = next(iter(run(small, feeds, fixed_values(small)).values()))
        got = next(iter(run(again, feeds, fixed_values(again)).values()))
    assert torch.allclose(got, expected, atol=1e-4)
    groups = find_groups(again)
    assert sorted(group.size for group in groups.groups) == [3, 3, 71, 71]
    assert prove(again, groups, cut, [{group.id: 1 for group in groups.groups}]) <= 1e-9
