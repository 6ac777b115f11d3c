"""Ranges are evened out in the base, for every rung at once, where int8 is better for it."""

from __future__ import annotations

import numpy as np
from tests.compiler import digits
from tests.compiler.rungs import twin_outputs
from tests.compiler.unbalanced import unbalanced_master

from secateur.equalising import equalise_if_better, equalised
from secateur.evaluation import snr_db
from secateur.graph import find_groups
from secateur.master import untuned_master
from secateur.quantization import equalise


def test_rungs_of_any_width_compute_what_they_did() -> None:
    master, x = unbalanced_master(), digits.arrays()[1][:64]
    found = equalise(master.rung_network(master.groups.full()), master.calibration)
    other = equalised(master, found.at(1.0))
    assert (other.network.weights["w2"] != master.network.weights["w2"]).any()
    for share in (1.0, 0.5):
        keep = {group.id: max(1, round(share * group.size)) for group in master.groups.groups}
        before, after = (twin_outputs(each.rung_network(keep), x) for each in (master, other))
        assert snr_db(before, after) > 80


def test_an_unbalanced_network_is_evened_out_and_one_with_batch_norms_is_not() -> None:
    judged = digits.task().inputs("validation")
    master = unbalanced_master()
    better, line = equalise_if_better(master, "int8", judged)
    assert better is not master
    assert "similar ranges" in line
    network = digits.network()
    plain = untuned_master(network, find_groups(network), {}, digits.task())
    same, nothing = equalise_if_better(plain, "int8", judged)
    assert same is plain
    assert not nothing
    assert np.isfinite(better.network.weights["w2"]).all()
