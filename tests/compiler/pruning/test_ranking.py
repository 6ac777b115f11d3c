"""Rounds of removal become one ranking: what goes early comes last."""

from __future__ import annotations

import numpy as np
import pytest
from tests.compiler.networks import network_of

from secateur.graph import find_groups
from secateur.ir import ChannelGroup, Groups, SecateurError
from secateur.pruning import Ranking, keep_counts


def one_group(size: int) -> Groups:
    return Groups([ChannelGroup("g0", "layer", {("weight:w", 0): np.arange(size)[:, None]})])


def test_a_channel_that_is_removed_early_comes_last_whatever_its_score_was() -> None:
    ranking = Ranking(one_group(4))
    ranking.remove({"g0": np.array([5.0, 1.0, 6.0, 7.0])}, {"g0": 3})
    np.testing.assert_array_equal(ranking.alive["g0"], [True, False, True, True])
    ranking.remove({"g0": np.array([0.1, 0.6, 0.01])}, {"g0": 2})  # channel 3 fell from first to last
    scores = ranking.scores({"g0": np.array([2.0, 1.0])})["g0"]
    assert list(np.argsort(-scores)) == [0, 2, 3, 1]


def test_scores_of_later_rounds_are_brought_to_the_scale_of_the_first() -> None:
    ranking = Ranking(one_group(3))
    ranking.remove({"g0": np.array([30.0, 20.0, 10.0])}, {"g0": 2})
    scores = ranking.scores({"g0": np.array([0.3, 0.2])})["g0"]
    np.testing.assert_allclose(scores, [30.0, 20.0, 10.0])


def test_zeros_and_ties_still_rank_by_round() -> None:
    ranking = Ranking(one_group(4))
    ranking.remove({"g0": np.zeros(4)}, {"g0": 2})
    scores = ranking.scores({"g0": np.zeros(2)})["g0"]
    assert (scores >= 0).all()
    assert scores[:2].min() > scores[2:].max()


def test_at_least_one_channel_remains() -> None:
    groups = find_groups(network_of("smartwatch"))
    assert set(keep_counts(groups, 1.0).values()) == {1}
    assert keep_counts(groups, 0.0) == groups.full()


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(SecateurError, match="group g0 scores that are not finite"):
        Ranking(one_group(2)).remove({"g0": np.array([1.0, np.nan])}, {"g0": 1})
