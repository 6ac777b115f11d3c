"""Runs a rung in ONNX Runtime."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from secateur_agent.bundle.manifest import TensorSpec
from secateur_agent.inference.backend import Backend, BackendError, one_line
from secateur_agent.inference.control import LoadRung

CPU_PROVIDER = "CPUExecutionProvider"
_ERRORS_ONLY = 3
_DATATYPES = {"tensor(float)": "FP32", "tensor(int32)": "INT32", "tensor(int64)": "INT64", "tensor(bool)": "BOOL"}


class OnnxRuntimeBackend(Backend, name="onnxruntime"):
    """An ONNX Runtime session."""

    def __init__(self, load: LoadRung) -> None:
        self._what = f"rung {load.rung}"
        wanted, self.fallback = choose_providers(load.providers, onnxruntime.get_available_providers())
        try:
            self._session = _session(load, wanted)
        except Exception as error:  # its exception classes share no base of their own
            if wanted == [CPU_PROVIDER]:
                raise BackendError(f"{self._what}: ONNX Runtime refuses the file: {one_line(error)}") from None
            try:
                self._session = _session(load, [CPU_PROVIDER])
            except Exception:
                raise BackendError(f"{self._what}: ONNX Runtime refuses the file: {one_line(error)}") from None
            self.fallback = f"{wanted[0]} failed, {CPU_PROVIDER} runs: {one_line(error, 160)}"
        self.providers = tuple(self._session.get_providers())
        if not self.fallback and self.providers[0] != wanted[0]:
            self.fallback = f"{wanted[0]} did not start; {self.providers[0]} runs"
        _check(f"{self._what}: input", load.inputs, self._session.get_inputs())
        _check(f"{self._what}: output", load.outputs, self._session.get_outputs())
        self._outputs = [spec.name for spec in load.outputs]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            outputs: list[NDArray[Any]] = self._session.run(self._outputs, dict(feeds))
        except Exception as error:  # its exception classes share no base of their own
            raise BackendError(f"{self._what}: the run failed: {one_line(error)}") from None
        return outputs

    def close(self) -> None:
        del self._session


def choose_providers(preferred: Sequence[str], available: Sequence[str]) -> tuple[list[str], str]:
    """Choose execution providers among those that this build of ONNX Runtime has.

    Args:
        preferred: what the profile asks for, in order.
        available: what the build has.

    Returns:
        The providers, the CPU always last, and why the most preferred one is not among them (empty if it is).
    """
    chosen = [provider for provider in preferred if provider in available]
    missing = [provider for provider in preferred if provider not in available]
    if CPU_PROVIDER not in chosen:
        chosen.append(CPU_PROVIDER)
    if preferred and chosen[0] != preferred[0]:
        return chosen, f"{', '.join(missing)} not in this build of ONNX Runtime; {chosen[0]} runs"
    return chosen, ""


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
    return onnxruntime.InferenceSession(load.path, session_options(load.precision, load.threads), providers=providers)


def _check(what: str, specs: Sequence[TensorSpec], arguments: Sequence[Any]) -> None:
    """Compare what the manifest says with what the file says; a symbolic or missing size in the file is −1."""
    found = {
        argument.name: (
            _DATATYPES.get(argument.type, argument.type),
            [size if isinstance(size, int) else -1 for size in argument.shape],
        )
        for argument in arguments
    }
    for spec in specs:
        if spec.name not in found:
            raise BackendError(f"{what} {spec.name!r}: not in the file, which has {', '.join(map(repr, found))}")
        datatype, shape = found.pop(spec.name)
        # An output's size may be symbolic in the file where the manifest knows it.
        fits = len(shape) == len(spec.shape) and all(a in (b, -1) for a, b in zip(shape, spec.shape))
        if datatype != spec.datatype or not fits:
            raise BackendError(
                f"{what} {spec.name!r}: the manifest says {spec.datatype} {list(spec.shape)}, the file {datatype} {shape}"
            )
    if found and "input" in what:
        raise BackendError(f"{what} {', '.join(map(repr, found))}: in the file, but not in the manifest")
