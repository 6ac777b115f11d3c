"""TFLite: the file must be the manifest's network, axes are the network's, what runs it is told."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import lite_rungs

from secateur_agent.bundle.manifest import TensorSpec
from secateur_agent.inference.backend import BackendError, open_backend
from secateur_agent.inference.control import Loaded

pytest.importorskip("ai_edge_litert", reason="no TFLite runtime for this Python: pip install 'secateur-agent[tflite]'")


def test_it_computes_any_batch_and_tells_what_runs(tmp_path: Path) -> None:
    backend = open_backend(lite_rungs.write(tmp_path, lite_rungs.linear(3.0)))
    (y,) = backend.run({"x": np.ones((5, 4), np.float32)})
    np.testing.assert_allclose(y, np.full((5, 2), 12.0, np.float32), rtol=1e-6)
    assert (backend.providers, backend.fallback) == (("XNNPACK", "CPU"), "")


def test_axes_are_the_networks_although_the_file_has_channels_last(tmp_path: Path) -> None:
    backend = open_backend(lite_rungs.write(tmp_path, lite_rungs.image(2.0)))
    x = np.random.default_rng(0).standard_normal((3, 3, 4, 5)).astype(np.float32)
    (y,) = backend.run({"x": x})
    np.testing.assert_allclose(y, 2 * x, rtol=1e-6)
    assert y.flags.c_contiguous


def test_requests_of_several_threads_do_not_mix(tmp_path: Path) -> None:
    backend = open_backend(lite_rungs.write(tmp_path, lite_rungs.linear(1.0)))

    def ask(value: int) -> float:
        return float(backend.run({"x": np.full((2, 4), value, np.float32)})[0][1, 1])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(200))) == [4.0 * value for value in range(200)]


def test_a_delegate_that_is_not_there_is_a_fallback_that_is_told(tmp_path: Path) -> None:
    load = lite_rungs.write(tmp_path, lite_rungs.linear(1.0), providers=("libnpu_delegate.so", "XNNPACK"))
    backend = open_backend(load)
    assert backend.providers == ("XNNPACK", "CPU")
    assert backend.fallback.startswith("libnpu_delegate.so failed, XNNPACK runs: ")
    assert "\n" not in backend.fallback


@pytest.mark.parametrize("data", [b"garbage" * 10, b"\x1c\0\0\0TFL3" + bytes(40)])
def test_a_file_that_is_no_model_is_one_clear_line(tmp_path: Path, data: bytes) -> None:
    load = lite_rungs.write(tmp_path, lite_rungs.linear(1.0), sha256=hashlib.sha256(data).hexdigest())
    Path(load.path).write_bytes(data)
    with pytest.raises(BackendError, match=r"^rung r0-fp32: TFLite refuses the file: [^\n]*$"):
        open_backend(load)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": (TensorSpec(name="z", shape=(-1, 4)),)}, "input 'z': not in the file, which has 'x'"),
        ({"inputs": (TensorSpec(name="x", shape=(-1, 5)),)}, r"the manifest says FP32 \[-1, 5\], the file FP32 \[1, 4\]"),
        ({"outputs": (TensorSpec(name="y", shape=(-1, 2), datatype="INT64"),)}, "the manifest says INT64"),
        ({"inputs": ()}, "input 'x': in the file, but not in the manifest"),
    ],
)
def test_another_network_than_the_manifests_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BackendError, match=message):
        open_backend(lite_rungs.write(tmp_path, lite_rungs.linear(1.0), **changes))


def test_a_worker_serves_it_and_switches_to_a_rung_of_the_other_runtime(
    tmp_path: Path, tiny_rungs: Any, start_worker: Any
) -> None:
    worker = start_worker()
    worker.process.load(lite_rungs.write(tmp_path, lite_rungs.linear(3.0), rung="r0-fp32"))
    assert worker.expect(Loaded).providers == ("XNNPACK", "CPU")
    worker.process.load(tiny_rungs.make(rung="r1-fp32"))
    assert worker.expect(Loaded).providers == ("CPUExecutionProvider",)
