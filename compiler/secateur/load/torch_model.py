"""PyTorch models → normal form, by way of ONNX."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import onnx
import torch

from secateur.ir import Network, UnsupportedModelError
from secateur.load.objects import load_object
from secateur.load.onnx_file import load_onnx

OPSET = 18

Example: TypeAlias = "tuple[int, ...] | Mapping[str, tuple[tuple[int, ...], str]]"
"""Shape of one float32 input without the batch, or inputs in the order of ``forward`` → shape and element type."""


def load_model(spec: str, example_shape: Example | None = None) -> Network:
    """Load a model.

    Args:
        spec: ``FILE.onnx``, or ``module:function`` whose function returns a ``torch.nn.Module``.
        example_shape: the shape of one input, without the batch, or of several as `Example`; needed for a module.

    Raises:
        UnsupportedModelError: if it cannot be read, exported or brought to normal form.
    """
    if spec.endswith(".onnx"):
        return load_onnx(Path(spec))
    factory = load_object(spec)
    if isinstance(factory, torch.nn.Module) or not callable(factory):
        raise UnsupportedModelError(f"{spec}: is not a function; name one that returns the trained torch.nn.Module")
    module = factory()
    if not isinstance(module, torch.nn.Module):
        raise UnsupportedModelError(f"{spec}: returned {type(module).__name__}, not a torch.nn.Module")
    if example_shape is None:
        raise UnsupportedModelError(f"{spec}: the task has no sample from which to learn the input's shape")
    return export_module(module, example_shape)


def export_module(module: torch.nn.Module, example_shape: Example) -> Network:
    """Export a module to ONNX (without graph optimisation, which would fold batch norm) and bring it to normal form.

    Args:
        module: the trained network.
        example_shape: the input's shape without the batch, or of several inputs as `Example`.

    Raises:
        UnsupportedModelError: if torch cannot export it or it has an unsupported operator.
    """
    return load_onnx(to_onnx(module, example_shape))


def to_onnx(module: torch.nn.Module, example_shape: Example) -> onnx.ModelProto:
    """Export a module to ONNX, batch first and dynamic."""
    module = module.eval()
    for name, parameter in module.named_parameters():
        if not torch.isfinite(parameter).all():
            raise UnsupportedModelError(f"model: weight {name} has NaN or infinite values; was the training healthy?")
    given = example_shape if isinstance(example_shape, Mapping) else {"input": (example_shape, "float32")}
    examples = _examples(module, given)
    names = ["input"] if len(given) == 1 else [f"input_{name}" if name.isdigit() else name for name in given]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                examples,
                dynamo=True,
                optimize=False,
                opset_version=OPSET,
                verbose=False,
                input_names=names,
                dynamic_shapes=({0: torch.export.Dim("batch")},) * len(examples),
            )
    except Exception as error:  # the exporter raises many types
        lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise UnsupportedModelError(f"model: torch cannot export it to ONNX: {reason[:300]}") from None
    assert program is not None
    return _inlined(program.model_proto)


def _examples(module: torch.nn.Module, given: Mapping[str, tuple[tuple[int, ...], str]]) -> tuple[torch.Tensor, ...]:
    """Zeros to trace with. Integers are tried as they are; a module that refuses them takes float32."""
    examples = tuple(torch.zeros((2, *shape), dtype=getattr(torch, dtype)) for shape, dtype in given.values())
    if any(not x.is_floating_point() for x in examples):
        try:
            with torch.no_grad():
                module(*examples)
        except RuntimeError:
            return tuple(x.float() for x in examples)
    return examples


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.inliner.inline_local_functions(model) if model.functions else model
