"""What each execution provider of ONNX Runtime is told, and which precision one must not be given. Imports no runtime.

Names and meaning of the options: https://onnxruntime.ai/docs/execution-providers (TensorRT, CUDA). None of these providers
runs on the machines that this is tested on; the tests check what they would be told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from secateur_agent.inference.control import LoadRung

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
TENSORRT_PROVIDER = "TensorrtExecutionProvider"

Options = dict[str, str]


def provider_options(provider: str, load: LoadRung) -> Options:
    """Return the options to start a provider with, all values text, as ONNX Runtime takes them.

    Args:
        provider: its name.
        load: the rung; its precision and digest, and the folder where compiled engines are kept.
    """
    options = _OPTIONS.get(provider)
    return options(load) if options is not None else {}


def unsuited(provider: str, precision: str) -> str:
    """Say why a provider must not be given a rung of this precision, '' if it may.

    TensorRT quantizes around 0 only. It would refuse every layer of an ordinary int8 rung, and the session would fall back
    without a word.
    """
    if provider == TENSORRT_PROVIDER and precision == "int8":
        return "takes int8 only around zero (precision int8-symmetric)"
    return ""


def prepare_cache(providers: Sequence[str], load: LoadRung) -> None:
    """Make the folders that the options of these providers name, if any of them keeps something.

    Raises:
        OSError: if that is not possible.
    """
    if load.cache and TENSORRT_PROVIDER in providers:
        _engines(load).mkdir(parents=True, exist_ok=True)


def _tensorrt(load: LoadRung) -> Options:
    """An engine is built for one file on one board and takes minutes, so it is kept: the trial of an install builds it.

    Each file has a folder of its own. TensorRT's provider names an engine after the names in the graph, and those are the
    same in all rungs of a ladder; the engine of one rung would pass for another's.
    """
    quantized = load.precision.startswith("int8")
    options = {
        "trt_fp16_enable": _text(load.precision in ("fp16", "int8-symmetric")),
        "trt_int8_enable": _text(quantized),
    }
    if load.cache:
        options |= {
            "trt_engine_cache_enable": _text(True),
            "trt_engine_cache_path": str(_engines(load)),
            # How long kernels take is a property of the board, so all rungs share it, and the second builds faster.
            "trt_timing_cache_enable": _text(True),
            "trt_timing_cache_path": load.cache,
        }
    return options


def _cuda(load: LoadRung) -> Options:
    # An arena that doubles, and convolutions that are timed one by one, cost memory and a slow switch.
    return {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}


_OPTIONS: dict[str, Callable[[LoadRung], Options]] = {TENSORRT_PROVIDER: _tensorrt, CUDA_PROVIDER: _cuda}


def _engines(load: LoadRung) -> Path:
    return Path(load.cache) / load.sha256[:16]


def _text(value: bool) -> str:
    return "True" if value else "False"
