"""What was tried is not measured twice, not even by a search that was interrupted."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.compiler.networks import network_of, samples

from secateur.search import Trials, trials_file


class Counting:
    """A distance that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, keep: Mapping[str, int]) -> float:
        self.asked += 1
        return 1.0 / sum(keep.values())


def test_a_network_is_measured_once() -> None:
    measure = Counting()
    trials = Trials(measure)
    assert trials.distance({"g0": 4, "g1": 4}) == trials.distance({"g1": 4, "g0": 4}) == 1 / 8
    assert measure.asked == 1
    assert len(trials.asked) == 1


def test_a_second_run_takes_what_the_first_measured_and_the_time_it_took(tmp_path: Path) -> None:
    ticks = iter(range(100))
    first = Trials(Counting(), tmp_path / "trials.jsonl", lambda: float(next(ticks)))
    for count in (3, 2, 1):
        first.distance({"g0": count})
    measure = Counting()
    second = Trials(measure, tmp_path / "trials.jsonl")
    assert second.seconds == 0
    assert second.distance({"g0": 2}) == 1 / 2
    assert (measure.asked, second.seconds) == (0, 1.0)
    second.distance({"g0": 7})
    assert measure.asked == 1


def test_a_half_written_line_is_measured_again(tmp_path: Path) -> None:
    file = tmp_path / "trials.jsonl"
    first = Trials(Counting(), file)
    first.distance({"g0": 3})
    first.distance({"g0": 2})
    file.write_bytes(file.read_bytes()[:-9])
    measure = Counting()
    second = Trials(measure, file)
    assert [second.distance({"g0": count}) for count in (3, 2)] == [1 / 3, 1 / 2]
    assert measure.asked == 1


@given(st.binary(max_size=200))
def test_any_file_is_read_without_an_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trials.jsonl"
        file.write_bytes(content)
        assert Trials(Counting(), file).distance({"g0": 2}) == 1 / 2


def test_other_weights_or_other_data_have_another_file(tmp_path: Path) -> None:
    network = network_of("mlp")
    inputs = samples(tuple(network.inputs[next(iter(network.inputs))][1:]), 4)
    file = trials_file(tmp_path, network, inputs)
    assert file == trials_file(tmp_path, network, inputs)
    assert file != trials_file(tmp_path, network, inputs + 1)
    other = {name: weight * 2 for name, weight in network.weights.items()}
    assert file != trials_file(tmp_path, network.with_values(weights=other), inputs)
