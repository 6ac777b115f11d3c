"""The precision of a bundle for this machine is the fastest that is accurate enough."""

from __future__ import annotations

import pytest
from tests.compiler import digits
from tests.compiler.unbalanced import unbalanced_master

from secateur.evaluation import Session
from secateur.precision_choice import Candidate, _best, told, weigh_precisions
from secateur_profiles import load as load_profile


def candidate(precision: str, latency_ms: float, file_bytes: int, accurate: bool = True, metric: float = 0.9) -> Candidate:
    return Candidate(precision, latency_ms, metric, file_bytes, accurate)


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ([candidate("fp32", 1.0, 400), candidate("int8", 0.5, 100)], "int8"),
        ([candidate("fp32", 0.7, 400), candidate("int8", 1.1, 100)], "fp32"),
        ([candidate("fp32", 1.0, 400), candidate("int8-weight-only", 1.02, 100)], "int8-weight-only"),
        ([candidate("fp32", 1.0, 400), candidate("int8", 0.5, 100, accurate=False, metric=0.5)], "fp32"),
        ([candidate("fp16", 1.0, 200, False, 0.8), candidate("int8", 0.5, 100, False, 0.5)], "fp16"),
    ],
)
def test_the_smallest_of_the_fastest_accurate_files(found: list[Candidate], chosen: str) -> None:
    """int8 is slower than fp32 on some machines (microsoft/onnxruntime#20052, #6732): there it is not taken."""
    assert _best(found).precision == chosen


def test_every_precision_of_the_profile_is_written_and_timed() -> None:
    master, x, y = unbalanced_master(), digits.task().inputs("validation"), digits.task().targets("validation")
    profile = replace_precisions("fp32", "int8", "int8-weight-only")
    assert y is not None

    def metric(data: bytes) -> float:
        return float((Session(data).run(x).argmax(1) == y).mean())

    found = weigh_precisions(master, profile, x, 0.97, metric, 0.02)
    assert [each.precision for each in found] == ["fp32", "int8", "int8-weight-only"]
    assert sum(each.chosen for each in found) == 1
    assert all(each.latency_ms > 0 for each in found)
    assert found[0].file_bytes > 2 * found[1].file_bytes
    line = told("linux-x86-64", found)
    assert "timed here" in line
    assert all(each.precision in line for each in found)


def replace_precisions(*precisions: str):  # type: ignore[no-untyped-def]
    import msgspec

    return msgspec.structs.replace(load_profile("linux-x86-64"), precisions=precisions)
