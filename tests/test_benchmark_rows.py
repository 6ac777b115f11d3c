"""The rows of the benchmarks: a figure that is not measured again keeps its value and date; the page shows every row."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from tests.benchmarks.figures import FIGURES
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.page import render_page
from tests.benchmarks.rows import Row, RowsError, merge_rows, read_rows, write_rows

OLD = Row("bundle-ratio", "a network", 1.2, "≤ 1.1", "ratio", False, "a machine", "2020-01-01")
OTHER = Row("switch-p99", "a worker", 1.1, "≤ 1.5", "ratio", True, "a machine", "2020-01-01")
NEW = dataclasses.replace(OLD, value=1.05, met=True, date="2020-02-02")


def test_a_row_that_was_skipped_keeps_its_date() -> None:
    assert merge_rows([OTHER, OLD], [NEW], list(FIGURES)) == [NEW, OTHER]


def test_a_case_that_is_no_more_leaves_with_its_figure() -> None:
    gone = dataclasses.replace(OLD, case="another network")
    assert merge_rows([gone, OLD], [NEW], list(FIGURES)) == [NEW]


def test_rows_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "benchmarks.json"
    assert read_rows(path) == []
    write_rows(path, [OLD, OTHER])
    assert read_rows(path) == [OLD, OTHER]
    assert set(json.loads(path.read_text(encoding="utf-8"))[0]) == {
        *("id", "case", "value", "target", "unit", "met", "machine", "date"),
    }


@pytest.mark.parametrize(
    "content", ["{", "{}", "[1]", '[{"id": "x"}]', json.dumps([{**dataclasses.asdict(OLD), "value": "much"}])]
)
def test_a_damaged_file_is_one_line_and_not_overwritten(tmp_path: Path, content: str) -> None:
    path = tmp_path / "benchmarks.json"
    path.write_text(content)
    with pytest.raises(RowsError) as error:
        read_rows(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert path.read_text() == content


def test_the_page_explains_every_figure_and_shows_every_row() -> None:
    page = render_page([OLD, OTHER], FIGURES)
    for figure in FIGURES.values():
        assert f"## `{figure.id}`" in page
        assert figure.meaning in page
    assert "| a network | 1.2 | ≤ 1.1 | **no** | 2020-01-01 |" in page
    assert "a machine (2020-01-01)" in page
    assert "make bench" in page


def test_the_summary_shows_the_worst_row_of_each_figure() -> None:
    better = [dataclasses.replace(OLD, case=f"network {value}", value=value, met=True) for value in (1.01, 1.04, 1.02)]
    page = render_page(better, FIGURES)
    assert "| [`bundle-ratio`](#bundle-ratio) | 1.04 | ≤ 1.1 | yes |" in page
    least = dataclasses.replace(OLD, id="vs-torch-pruning", target="≥ 0", unit="points", met=True)
    rows = [dataclasses.replace(least, case=f"point {value}", value=value, met=value >= 0) for value in (0.7, -0.4, -0.5)]
    assert "| -0.5 points | ≥ 0 | **no** |" in render_page(rows, FIGURES)


def test_targets_are_compared_as_they_read() -> None:
    assert FIGURES["bundle-ratio"].target == "≤ 1.1"
    assert FIGURES["bundle-ratio"].met(1.1)
    assert not FIGURES["bundle-ratio"].met(1.1001)
    assert FIGURES["recut-accuracy"].met(-1.0)
    assert not FIGURES["recut-accuracy"].met(-1.1)
    assert not FIGURES["switch-failed"].met(1)


def test_the_machine_is_described_in_one_line() -> None:
    line = describe_machine()
    assert "\n" not in line
    assert "ONNX Runtime" in line
    assert "cores" in line
