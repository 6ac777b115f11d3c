"""The long comparisons go on after the last row, and choose the peer's networks on validation images alone."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.benchmarks.cifar.compare import nested_versus_alone, versus_peer
from tests.benchmarks.cifar.plan import VARIANTS, WORK
from tests.benchmarks.cifar.runs import (
    ROWS,
    SEEDS,
    RawRow,
    Run,
    chosen,
    left,
    our_runs,
    peer_runs,
    read,
    screening_runs,
    within_time,
)

KNOWN = {
    "peer": {f"{v}/{p}": {"work": p, "time": p / 2 if v == "all-l2" else p} for v in VARIANTS for p in WORK},
    "ours": [{"keep": {"g0": n}, "work": n / 8, "time": n / 8, "loss": (3 * n) % 8} for n in range(8, 0, -1)],
}
"""Networks of all channels take half the time."""


def row(who: str, variant: str, point: str, seed: int, test: float, validation: float = 0.5) -> RawRow:
    return RawRow(who, variant, point, seed, 0.5, validation, test, 300, 1.0)


def screened() -> list[RawRow]:
    """The peer's networks with the first seed: Taylor is best on validation, L2 of all channels on test, and fastest."""
    validation = {"inner-l2": 0.7, "inner-taylor": 0.8, "all-l2": 0.6}
    return [
        row("peer", v, f"work/{p}", SEEDS[0], 0.99 if v == "all-l2" else 0.5, validation[v] + p / 10)
        for p in WORK
        for v in VARIANTS
    ]


def test_the_peers_variant_is_chosen_on_validation_and_never_on_test() -> None:
    found = chosen(screened(), KNOWN)
    assert {found[f"work/{point}"] for point in WORK} == {("inner-taylor", f"work/{point}") for point in WORK}
    # At a time only a variant that is fast enough counts, however good the others are.
    assert found["time/inner-l2/0.5"] == ("inner-taylor", "work/0.5")
    assert found["time/all-l2/0.25"] == ("all-l2", "work/0.25")
    assert chosen(screened()[:-1], KNOWN) == {}, "nothing is chosen before every candidate has been trained"


def test_at_a_time_secateurs_network_is_the_best_that_is_no_slower() -> None:
    assert within_time(KNOWN, 0.7)["keep"] == {"g0": 3}
    assert within_time(KNOWN, 0.25)["keep"] == {"g0": 1}
    assert within_time(KNOWN, 0.01)["keep"] == {"g0": 1}, "if none is fast enough, the fastest"


def test_only_what_has_no_row_is_trained() -> None:
    rows = screened()
    assert len(left(screening_runs(), [])) == len(VARIANTS) * len(WORK)
    assert left(screening_runs(), rows) == []
    assert left(screening_runs(), rows[1:]) == screening_runs()[:1]
    more = left(peer_runs(rows, KNOWN), rows)
    assert {run.seed for run in more} == set(SEEDS[1:])
    assert {(run.variant, run.point) for run in more} == set(chosen(rows, KNOWN).values())
    ours = our_runs(rows, KNOWN)
    assert Run("nested", "", "work", SEEDS[0]) in ours
    nested = [row("nested", "tuning taken to 1", point, SEEDS[0], 0.8) for point in ("full", "work/0.5")]
    alone = [row("alone", "", "work/0.5", SEEDS[1], 0.8)]
    waiting = left(ours, rows + nested + alone)
    assert set(ours) - set(waiting) == {Run("nested", "", "work", SEEDS[0]), Run("alone", "", "work/0.5", SEEDS[1])}


def test_a_half_written_row_is_trained_again(tmp_path: Path) -> None:
    first, second = (json.dumps(asdict(each)) + "\n" for each in screened()[:2])
    (tmp_path / ROWS).write_text(first + second[:-5])
    assert read(tmp_path) == screened()[:1]


def test_differences_are_paired_by_seed_with_their_interval() -> None:
    rows = [replace(each, test=0.5) for each in screened()]
    for point, name in chosen(rows, KNOWN).items():
        for seed in SEEDS:
            if seed != SEEDS[0] and not any(r.seed == seed and (r.variant, r.point) == name for r in rows):
                rows.append(row("peer", *name, seed, 0.5 + seed / 100))
            rows.append(row("alone", "", point, seed, 0.52 + seed / 100))
            rows.append(row("nested", "", point, seed, 0.51 + seed / 100))
    found = versus_peer(rows, KNOWN)
    assert len(found) == len(chosen(rows, KNOWN))
    assert all(each.value == pytest.approx(2.0) for each in found)
    assert "mean of 3 seeds +2.00, 95 % from +2.00 to +2.00" in found[0].case
    assert [each.value for each in nested_versus_alone(rows, KNOWN)] == pytest.approx([-1.0] * len(WORK))
