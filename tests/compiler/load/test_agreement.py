"""A normal form that computes something else than the user's file is never compiled."""

from __future__ import annotations

import pytest
from onnx import ModelProto
from tests.compiler.networks import folded_onnx, network_of

from secateur.ir import UnsupportedModelError
from secateur.load import load_onnx
from secateur.load.agreement import check_agreement
from secateur.load.converters import CONVERTERS


def test_the_right_normal_form_agrees() -> None:
    check_agreement(folded_onnx("vgg"), network_of("vgg", folded=True), "net.onnx")


def test_a_converter_that_misreads_an_operator_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONVERTERS, "Relu", lambda node: node.put_view(node.view()))
    with pytest.raises(UnsupportedModelError, match="differs from ONNX Runtime by"):
        load_onnx(folded_onnx("vgg"))


def test_a_model_that_onnxruntime_refuses_is_one_line() -> None:
    broken = ModelProto()
    broken.CopyFrom(folded_onnx("mlp"))
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(UnsupportedModelError, match="ONNX Runtime cannot run it") as caught:
        check_agreement(broken, network_of("mlp", folded=True), "net.onnx")
    assert "\n" not in str(caught.value)
