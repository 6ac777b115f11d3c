"""A tensor lives from the node that makes it to the last one that reads it."""

from __future__ import annotations

from secateur.search.lifetimes import peak_live_elements

SIZES = {"x": 10, "a": 100, "b": 100, "c": 30, "s": 100, "y": 5}


def peak(nodes: list[tuple[list[str], str, bool]]) -> int:
    return peak_live_elements(nodes, ["x"], ["y"], SIZES.__getitem__)


def test_a_chain_holds_two_neighbours() -> None:
    assert peak([(["x"], "a", False), (["a"], "c", False), (["c"], "y", False)]) == 130


def test_a_residual_branch_keeps_its_skip_alive() -> None:
    branch = [(["x"], "a", False), (["a"], "c", False), (["c"], "b", False)]
    assert peak([*branch, (["a", "b"], "s", False), (["s"], "y", False)]) == 300
    assert peak([*branch, (["b"], "s", False), (["s"], "y", False)]) == 200


def test_in_place_takes_the_memory_over_unless_somebody_else_reads_it() -> None:
    assert peak([(["x"], "a", False), (["a"], "b", True), (["b"], "y", False)]) == 110
    read_again = [(["x"], "a", False), (["a"], "b", True), (["a", "b"], "y", False)]
    assert peak(read_again) == 205


def test_an_input_that_is_also_an_output_lives_throughout() -> None:
    assert peak_live_elements([(["x"], "a", False)], ["x"], ["x"], SIZES.__getitem__) == 110
