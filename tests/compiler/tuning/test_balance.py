"""What each network counts in a step."""

from __future__ import annotations

import pytest

from secateur.tuning.balance import Balance


@pytest.mark.parametrize(("exponent", "ratio"), [(0.0, 16.0), (0.5, 4.0), (1.0, 1.0)])
def test_losses_are_brought_nearer_each_other(exponent: float, ratio: float) -> None:
    balance = Balance(exponent)
    for _ in range(2):
        small, large = (loss * balance.weight(number, loss) for number, loss in enumerate((1.0, 16.0)))
    assert large / small == pytest.approx(ratio)


def test_a_network_that_gets_better_counts_more() -> None:
    balance = Balance(1.0)
    for loss in (4.0, 3.0, 2.0, 1.0):
        balance.weight(0, 4.0)
        weight = balance.weight(1, loss)
    assert weight > balance.weight(0, 4.0)


def test_a_loss_of_nothing_is_left_as_it_is() -> None:
    assert Balance(1.0).weight(0, 0.0) == 1.0
