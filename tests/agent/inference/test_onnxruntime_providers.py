"""What CUDA and TensorRT would be told. There is no GPU here: the options are checked, and that ONNX Runtime's own list of
options is not contradicted by a name that does not begin as its do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from secateur_agent.inference.onnxruntime_backend import choose_providers
from secateur_agent.inference.onnxruntime_providers import (
    CPU_PROVIDER,
    CUDA_PROVIDER,
    TENSORRT_PROVIDER,
    prepare_cache,
    provider_options,
)

GPU = (TENSORRT_PROVIDER, CUDA_PROVIDER, CPU_PROVIDER)


@pytest.mark.parametrize(
    ("precision", "fp16", "int8"),
    [
        ("fp32", "False", "False"),
        ("fp16", "True", "False"),
        ("int8-symmetric", "True", "True"),
        ("int8-weight-only", "False", "True"),
    ],
)
def test_tensorrt_computes_in_the_precision_of_the_rung(tiny_rungs: Any, precision: str, fp16: str, int8: str) -> None:
    options = provider_options(TENSORRT_PROVIDER, tiny_rungs.make(precision=precision))
    assert options == {"trt_fp16_enable": fp16, "trt_int8_enable": int8}


def test_engines_are_kept_apart_by_file_and_timings_are_shared(tiny_rungs: Any, tmp_path: Path) -> None:
    """Rungs of one ladder have the same names in their graphs, which is what an engine's file is named after."""
    cache = str(tmp_path / "compiled")
    loads = [tiny_rungs.make(f"r{n}-fp32", scale=n, cache=cache) for n in (1, 2)]
    first, second = (provider_options(TENSORRT_PROVIDER, load) for load in loads)
    for load, options in zip(loads, (first, second)):
        prepare_cache(GPU, load)
        assert Path(options["trt_engine_cache_path"]).is_dir()
        assert Path(options["trt_engine_cache_path"]).is_relative_to(cache)
        assert (options["trt_engine_cache_enable"], options["trt_timing_cache_enable"]) == ("True", "True")
    assert first["trt_engine_cache_path"] != second["trt_engine_cache_path"]
    assert first["trt_timing_cache_path"] == second["trt_timing_cache_path"] == cache


def test_the_cpu_needs_no_options_and_cuda_takes_no_more_memory_than_it_needs(tiny_rungs: Any) -> None:
    load = tiny_rungs.make()
    assert provider_options(CPU_PROVIDER, load) == {}
    assert provider_options(CUDA_PROVIDER, load)["arena_extend_strategy"] == "kSameAsRequested"


def test_tensorrt_is_not_given_what_it_would_refuse_layer_by_layer_and_that_is_told() -> None:
    assert choose_providers(GPU, GPU, "int8") == (
        [CUDA_PROVIDER, CPU_PROVIDER],
        f"{TENSORRT_PROVIDER} takes int8 only around zero (precision int8-symmetric); {CUDA_PROVIDER} runs",
    )
    assert choose_providers(GPU, GPU, "int8-symmetric") == (list(GPU), "")
    assert choose_providers(GPU, [CPU_PROVIDER], "fp16")[1] == (
        f"{TENSORRT_PROVIDER}, {CUDA_PROVIDER} not in this build of ONNX Runtime; {CPU_PROVIDER} runs"
    )
