"""Recipes write the very bytes of the files, and rungs of one precision share one program."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.compiler.networks import TOPOLOGIES
from tests.compiler.rungs import master_of, rung_of

from secateur.bundle.pack import digest
from secateur_agent.bundle.materialise import materialise_bytes
from secateur_agent.bundle.recipe import decode_recipe, encode_recipe, inherit


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_recipes_materialise_to_the_same_bytes(name: str, precision: str) -> None:
    master = master_of(name)
    parent = rung_of(master, 1.0, precision)
    for share in (1.0, 0.6, 0.2):
        rung = rung_of(master, share, precision)
        recipe = decode_recipe(encode_recipe(rung.recipe))
        assert materialise_bytes(recipe, master.base(precision), "rung") == rung.data
        assert recipe.sha256.hex() == digest(rung.data)
        assert recipe.size == len(rung.data)
        child = rung.child(parent)
        assert child is not None, "the rung's program differs from the parent's"
        shipped = decode_recipe(encode_recipe(child))
        assert shipped.ops == ()
        assert shipped.literals == b""
        assert materialise_bytes(inherit(shipped, parent.recipe), master.base(precision), "rung") == rung.data


def test_another_precision_does_not_share_the_program() -> None:
    master = master_of("mlp")
    assert rung_of(master, 0.5, "int8").child(rung_of(master, 1.0, "fp32")) is None


def test_the_same_rung_twice_is_the_same_file() -> None:
    first, again = (rung_of(master_of("resnet-a"), 0.5, "int8") for _ in range(2))
    assert first.data == again.data
    assert encode_recipe(first.recipe) == encode_recipe(again.recipe)


def test_files_are_written_without_torch() -> None:
    """Tests of devices write files in environments that have none."""
    code = "import sys, secateur.export; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
