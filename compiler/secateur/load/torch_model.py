"""PyTorch models → normal form, by way of ONNX."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import onnx
import torch

from secateur.ir import Network, UnsupportedModelError
from secateur.load.objects import load_object
from secateur.load.onnx_file import load_onnx

OPSET = 18


def load_model(spec: str, example_shape: tuple[int, ...] | None = None) -> Network:
    """Load a model.

    Args:
        spec: ``FILE.onnx``, or ``module:function`` whose function returns a ``torch.nn.Module``.
        example_shape: the shape of one input, without the batch; needed for a module.

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


def export_module(module: torch.nn.Module, example_shape: tuple[int, ...]) -> Network:
    """Export a module to ONNX (without graph optimisation, which would fold batch norm) and bring it to normal form.

    Args:
        module: the trained network, one input.
        example_shape: the input's shape without the batch.

    Raises:
        UnsupportedModelError: if torch cannot export it or it has an unsupported operator.
    """
    return load_onnx(to_onnx(module, example_shape))


def to_onnx(module: torch.nn.Module, example_shape: tuple[int, ...]) -> onnx.ModelProto:
    """Export a module to ONNX, batch first and dynamic."""
    module = module.eval()
    for name, parameter in module.named_parameters():
        if not torch.isfinite(parameter).all():
            raise UnsupportedModelError(f"model: weight {name} has NaN or infinite values; was the training healthy?")
    example = torch.zeros((2, *example_shape))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                optimize=False,
                opset_version=OPSET,
                verbose=False,
                input_names=["input"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    except Exception as error:  # the exporter raises many types
        lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise UnsupportedModelError(f"model: torch cannot export it to ONNX: {reason[:300]}") from None
    assert program is not None
    return _inlined(program.model_proto)


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.inliner.inline_local_functions(model) if model.functions else model
