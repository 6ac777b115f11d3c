"""What each step of repair gave is measured on networks that are really in that state."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.compiler import compiled

from secateur.gains import Gains, measure_gains
from secateur.ir.groups import keep_key
from secateur.workspace import load_workspace


def test_the_largest_rung_loses_nothing_by_the_cut_and_the_smallest_is_repaired_step_by_step() -> None:
    result = compiled.result()
    rungs = next(made for made in result.profiles if made.profile == compiled.GATEWAY).rungs
    largest, *_, smallest = (result.gains[keep_key(rung.entry.keep)] for rung in rungs)
    original = result.original_value["validation"]
    assert largest.cut == pytest.approx(original, abs=1e-6)
    assert smallest.cut < original
    assert smallest.reconstructed > smallest.cut
    # The file of an fp32 rung computes what its twin does.
    assert smallest.tuned == pytest.approx(rungs[-1].entry.metric_value, abs=1e-3)


@pytest.mark.parametrize(("tuned", "expected"), [(False, Gains(0.2, 0.1, 0.1, 0.1)), (True, Gains(0.3, 0.1, 0.1, 0.2))])
def test_a_network_is_measured_once_in_each_state(tuned: bool, expected: Gains) -> None:
    _, master, _ = load_workspace(compiled.folder() / "out" / "workspace")
    full, asked = master.groups.full(), []

    def metric(network: object) -> float:
        asked.append(network)
        return len(asked) / 10

    after = replace(master) if tuned else master
    found = measure_gains(master, master, after, [full, dict(full)], metric)
    assert found == {keep_key(full): expected}
    assert len(asked) == (3 if tuned else 2)
