"""What a worker's memory peaks at beyond the bare runtime, from a rung's weights and the tensors alive at once.

A worker peaks while it builds its session or in the first runs, and it is not the arithmetic that fills it:

- a session by itself: thread pool, kernel registry, the pages of the library that are touched for the first time;
- every weight several times: as bytes of the file, as a tensor of the graph, and packed for the kernels (float weights of a
  16-bit or weight-only file are widened before that);
- activations: the arena takes memory in growing chunks during the first run and one block for all tensors in the second, so
  the tensors alive at once count about twice; int8 convolutions add a rearranged copy of input and output and 32-bit sums.

All of it is linear in weights and live elements, so three numbers per runtime and precision describe it. They were fitted to
fresh workers (x86-64 with AVX2, batch 1) that ran ResNet-20, MobileNetV2 and EfficientNet-Lite0 at five widths each: ONNX
Runtime 1.32 with one thread by least squares of the relative error; TFLite (ai-edge-litert 2.3, two threads), which maps the
file and packs weights once, by the least largest relative error. The benchmark ``worker-memory`` holds them against that.
A runtime or precision that was not measured gets the plain sum: file, one copy to compute with, two of the activations.
"""

from __future__ import annotations

from dataclasses import dataclass

from secateur.ir import PRECISIONS

_MIB = 2**20


@dataclass(frozen=True)
class WorkerMemory:
    """Peak beyond the bare runtime: a constant, bytes for each weight and bytes for each element that is alive."""

    session_mb: float
    bytes_per_weight: float
    bytes_per_element: float

    def peak_mb(self, weights: int, live_elements: int) -> float:
        """Return the peak in MB of 2^20 bytes.

        Args:
            weights: number of weights and private values.
            live_elements: the most that tensors alive at the same time hold, batch 1.
        """
        return self.session_mb + (weights * self.bytes_per_weight + live_elements * self.bytes_per_element) / _MIB


_MEASURED = {
    "onnxruntime": {
        "fp32": WorkerMemory(12.5, 10.9, 7.0),
        "fp16": WorkerMemory(12.5, 10.9, 7.0),
        "int8-weight-only": WorkerMemory(12.5, 8.2, 7.0),
        "int8": WorkerMemory(13.2, 3.2, 14.2),
        "int8-symmetric": WorkerMemory(13.2, 6.0, 17.0),
    },
    "tflite": {
        "fp32": WorkerMemory(6.65, 6.3, 10.7),
        "fp16": WorkerMemory(6.65, 6.3, 10.7),
        "int8-weight-only": WorkerMemory(6.55, 7.3, 10.7),
        "int8": WorkerMemory(6.97, 0.8, 7.26),
    },
}


def worker_memory(runtime: str, precision: str) -> WorkerMemory:
    """Return the model of a runtime and precision, as profiles and `PRECISIONS` name them."""
    measured = _MEASURED.get(runtime, {}).get(precision)
    if measured is not None:
        return measured
    kind = PRECISIONS[precision]
    size = kind.bytes_per_activation
    return WorkerMemory(0.0, kind.bytes_per_weight + size, 2 * size)
