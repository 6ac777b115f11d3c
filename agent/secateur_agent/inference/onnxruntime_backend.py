"""Runs a rung in ONNX Runtime.

Only the CPU provider runs on the machines that this is tested on. For CUDA and TensorRT the tests check which providers
are asked for, with which options, and what is told when one is missing or fails.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import onnxruntime
from msgspec import structs
from numpy.typing import NDArray

from secateur_agent.bundle.manifest import TensorSpec
from secateur_agent.inference.backend import Backend, BackendError, check_tensors, one_line
from secateur_agent.inference.control import LoadRung
from secateur_agent.inference.onnx_versions import onnx_versions
from secateur_agent.inference.onnxruntime_optimized import kept_session
from secateur_agent.inference.onnxruntime_providers import CPU_PROVIDER, prepare_cache, provider_options, unsuited

_ERRORS_ONLY = 3
_DATATYPES = {"tensor(float)": "FP32", "tensor(int32)": "INT32", "tensor(int64)": "INT64", "tensor(bool)": "BOOL"}


class OnnxRuntimeBackend(Backend, runtime="onnxruntime"):
    """An ONNX Runtime session."""

    platform: ClassVar[str] = "onnxruntime_onnx"

    def __init__(self, load: LoadRung) -> None:
        self._what = f"rung {load.rung}"
        wanted, self.fallback = choose_providers(load.providers, onnxruntime.get_available_providers(), load.precision)
        try:
            prepare_cache(wanted, load)
        except OSError as error:
            told = f"nothing can be cached in {load.cache}: {error.strerror}"
            self.fallback = "; ".join(filter(None, (self.fallback, told)))
            load = structs.replace(load, cache="")
        self._session, wanted = self._start(load, wanted)
        self.providers = tuple(self._session.get_providers())
        if not self.fallback and self.providers[0] != wanted[0]:
            self.fallback = f"{wanted[0]} did not start; {self.providers[0]} runs"
        _check(f"{self._what}: input", load.inputs, self._session.get_inputs())
        _check(f"{self._what}: output", load.outputs, self._session.get_outputs())
        self._outputs = [spec.name for spec in load.outputs]

    def _start(self, load: LoadRung, wanted: list[str]) -> tuple[Any, list[str]]:
        """Start a session with the first provider that takes the file; those before are told as failed.

        Returns:
            The session and the providers that it was asked to use.
        """
        first: Exception | None = None
        for number, provider in enumerate(wanted):
            left = wanted[number:]
            try:
                session = _session(load, left)
            except Exception as error:  # its exception classes share no base of their own
                first = first or error
                continue
            if first is not None:
                told = f"{wanted[0]} failed, {provider} runs: {one_line(first, 160)}"
                self.fallback = "; ".join(filter(None, (self.fallback, told)))
            return session, left
        assert first is not None  # the CPU is always among those wanted
        raise BackendError(f"{self._what}: {refusal(first, Path(load.path))}") from None

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            outputs: list[NDArray[Any]] = self._session.run(self._outputs, dict(feeds))
        except Exception as error:  # its exception classes share no base of their own
            raise BackendError(f"{self._what}: the run failed: {one_line(error)}") from None
        return outputs

    def close(self) -> None:
        del self._session


def choose_providers(preferred: Sequence[str], available: Sequence[str], precision: str = "fp32") -> tuple[list[str], str]:
    """Choose execution providers among those that this build of ONNX Runtime has and that take the precision.

    Args:
        preferred: what the profile asks for, in order.
        available: what the build has.
        precision: of the rung.

    Returns:
        The providers, the CPU always last, and why the most preferred one is not among them (empty if it is).
    """
    unfit = {provider: why for provider in preferred if (why := unsuited(provider, precision))}
    chosen = [provider for provider in preferred if provider in available and provider not in unfit]
    if CPU_PROVIDER not in chosen:
        chosen.append(CPU_PROVIDER)
    if not preferred or chosen[0] == preferred[0]:
        return chosen, ""
    reasons = [f"{provider} {why}" for provider, why in unfit.items()]
    if missing := [provider for provider in preferred if provider not in available and provider not in unfit]:
        reasons.append(f"{', '.join(missing)} not in this build of ONNX Runtime")
    return chosen, f"{'; '.join(reasons)}; {chosen[0]} runs"


_TOO_NEW = re.compile(r"IR version|opset|implementation for|not a registered function|No Op registered", re.IGNORECASE)
_TAKES = re.compile(r"max supported IR version: \d+|till opset \d+", re.IGNORECASE)


def refusal(error: BaseException, path: Path) -> str:
    """Say in one line why ONNX Runtime refuses a file; if the file is too new for it, with the versions of both."""
    text, version = one_line(error, 2000), onnxruntime.__version__
    found = onnx_versions(path) if _TOO_NEW.search(text) else None
    if found is None:
        return f"ONNX Runtime refuses the file: {one_line(error)}"
    takes = _TAKES.search(text)
    limit = f" ({takes[0].replace('till', 'up to')})" if takes else ""
    return (
        f"the file (ONNX IR {found.ir}, opset {found.opset}) is too new for ONNX Runtime {version}{limit}; install a newer "
        f"one on this device, or compile for a profile with an older runtime.min_version: {one_line(error, 120)}"
    )


def session_options(precision: str, threads: int) -> Any:
    """Return the session options of a worker; whoever times rungs elsewhere takes the same.

    Args:
        precision: of the rung.
        threads: inside an operator.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if precision == "int8" and platform.machine().lower() in ("x86_64", "amd64"):
        # U8S8 products saturate in 16 bits on an x86 without VNNI; this asks for the exact kernels.
        options.add_session_config_entry("session.x64quantprecision", "1")
    if precision == "int8-weight-only":
        # Weights are made float once, when the session is built, and not in every run.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def _session(load: LoadRung, providers: list[str]) -> Any:
    asked = [(provider, provider_options(provider, load)) for provider in providers]

    def options() -> Any:
        return session_options(load.precision, load.threads)

    def start(path: str, chosen: Any) -> Any:
        return onnxruntime.InferenceSession(path, chosen, providers=asked)

    # With other providers parts of the graph are theirs, and cannot be kept.
    if load.cache and providers == [CPU_PROVIDER]:
        return kept_session(load, options, start)
    return start(load.path, options())


def _check(what: str, specs: Sequence[TensorSpec], arguments: Sequence[Any]) -> None:
    """A symbolic or missing size in the file is −1: an output's may be, where the manifest knows it."""
    found = {
        argument.name: (
            _DATATYPES.get(argument.type, argument.type),
            [size if isinstance(size, int) else -1 for size in argument.shape],
        )
        for argument in arguments
    }

    def fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
        return len(shape) == len(wanted) and all(a in (b, -1) for a, b in zip(shape, wanted))

    check_tensors(what, specs, found, fits)
