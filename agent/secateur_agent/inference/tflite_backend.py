"""Runs a rung in TFLite (ai-edge-litert or tflite-runtime): on the CPU by XNNPACK, or by delegates that a profile names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray

from secateur_agent.bundle.manifest import TensorSpec
from secateur_agent.inference.backend import Backend, BackendError, check_tensors, one_line
from secateur_agent.inference.control import LoadRung
from secateur_agent.inference.tflite_model import LiteModel, LiteTensor
from secateur_agent.inference.v2_codec import NAMES

XNNPACK, KERNELS = "XNNPACK", "CPU"
_REFUSALS = (ValueError, RuntimeError, OSError)


class TFLiteBackend(Backend, runtime="tflite"):
    """A TFLite interpreter. It computes one sample at a time; requests from several threads wait for each other."""

    platform: ClassVar[str] = "tensorflowlite"

    def __init__(self, load: LoadRung) -> None:
        self._what = f"rung {load.rung}"
        self._model, used = self._start(load)
        # A runtime that does not tell what it delegates is taken at its default: both have XNNPACK on.
        own = (KERNELS,) if self._model.delegated is False else (XNNPACK, KERNELS)
        self.providers = (*used, *own) if self._model.delegated or not used else (*used, KERNELS)
        if not self.fallback and XNNPACK in load.providers and XNNPACK not in self.providers:
            self.fallback = f"{XNNPACK} takes no part of this file; TFLite's own kernels run"
        _check(f"{self._what}: input", load.inputs, self._model.inputs)
        _check(f"{self._what}: output", load.outputs, self._model.outputs)
        self._outputs = [spec.name for spec in load.outputs]

    def _start(self, load: LoadRung) -> tuple[LiteModel, tuple[str, ...]]:
        """Load the file with the delegates that the profile names, and without them if that fails."""
        delegates = tuple(name for name in load.providers if name not in (XNNPACK, KERNELS))
        try:
            return LiteModel(load.path, load.threads, delegates), delegates
        except _REFUSALS as error:
            if not delegates:
                raise BackendError(f"{self._what}: TFLite refuses the file: {one_line(error)}") from None
            self.fallback = f"{', '.join(delegates)} failed, {XNNPACK} runs: {one_line(error, 160)}"
        try:
            return LiteModel(load.path, load.threads), ()
        except _REFUSALS as error:
            raise BackendError(f"{self._what}: TFLite refuses the file: {one_line(error)}") from None

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            found = self._model.run(feeds)
        except _REFUSALS as error:
            raise BackendError(f"{self._what}: the run failed: {one_line(error)}") from None
        return [found[name] for name in self._outputs]

    def close(self) -> None:
        del self._model


def _check(what: str, specs: Sequence[TensorSpec], tensors: Sequence[LiteTensor]) -> None:
    """The file is for a single sample."""
    found = {each.name: (NAMES.get(each.dtype, each.dtype.name), each.shape) for each in tensors}
    check_tensors(what, specs, found, _fits)


def _fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    return list(shape) == [1 if size == -1 else size for size in wanted]
