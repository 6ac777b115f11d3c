"""The network that is followed answers the same, whether or not it was asked before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compiler import digits

from secateur.tuning import teacher
from secateur.tuning.teacher import Teacher
from secateur.twin import outputs_of


@pytest.mark.parametrize("most", [0, 1 << 25])
def test_answers_are_the_networks_own_in_any_order_and_number(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "MOST", most)
    network, x = digits.network(), digits.arrays()[0][:40]
    wanted = outputs_of(network, x)
    ask, random = Teacher(network, x), np.random.default_rng(0)
    for _ in range(6):
        chosen = random.integers(0, 40, 16)
        (found,) = ask(chosen).values()
        assert isinstance(wanted, np.ndarray)
        np.testing.assert_allclose(found.numpy(), wanted[chosen], atol=1e-5)


def test_no_sample_is_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = digits.network(), digits.arrays()[0][:10]
    ask, seen = Teacher(network, x), []
    plain = teacher.run

    def spy(*arguments: object) -> dict[str, torch.Tensor]:
        found = plain(*arguments)  # type: ignore[arg-type]
        seen.append(len(next(iter(found.values()))))
        return found

    monkeypatch.setattr(teacher, "run", spy)
    for chosen in ([0, 1, 2, 1], [2, 3], [0, 3], list(range(10))):
        ask(np.asarray(chosen))
    assert seen == [3, 1, 6]
