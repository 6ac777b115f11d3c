"""The memory of a worker: linear in weights and live elements, and close to what a fresh process takes here."""

from __future__ import annotations

import pytest

from secateur.ir import PRECISIONS
from secateur.search.worker_memory import WorkerMemory, worker_memory


def test_it_is_a_constant_and_so_much_for_each_weight_and_element() -> None:
    model = WorkerMemory(10.0, 4.0, 2.0)
    assert model.peak_mb(0, 0) == 10.0
    assert model.peak_mb(2**20, 0) == 14.0
    assert model.peak_mb(2**20, 2**20) == 16.0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_holds_the_file_and_a_copy_to_compute_with(precision: str) -> None:
    kind = PRECISIONS[precision]
    for runtime in ("onnxruntime", "not measured"):
        model = worker_memory(runtime, precision)
        assert model.bytes_per_weight >= kind.bytes_per_weight + kind.bytes_per_activation
        assert model.bytes_per_element >= 1.5 * kind.bytes_per_activation
    assert worker_memory("onnxruntime", precision).session_mb > worker_memory("not measured", precision).session_mb


def test_int8_takes_less_for_weights_and_more_for_elements_than_fp32() -> None:
    fp32, int8 = worker_memory("onnxruntime", "fp32"), worker_memory("onnxruntime", "int8")
    assert int8.bytes_per_weight < fp32.bytes_per_weight / 3
    assert int8.bytes_per_element > fp32.bytes_per_element
