"""The numbers of TFLite's schema are those of the code that its makers generate from it."""

from __future__ import annotations

import re

import pytest
from ai_edge_litert import schema_py_generated as generated

from secateur.export.tflite import schema


@pytest.mark.parametrize("name", schema.OPERATORS)
def test_operators_have_their_numbers(name: str) -> None:
    assert schema.OPERATORS[name].code == getattr(generated.BuiltinOperator, name)


@pytest.mark.parametrize("name", [name for name, operator in schema.OPERATORS.items() if operator.options])
def test_options_have_their_numbers(name: str) -> None:
    """The options of an operator are named after it; two operators of a kind share them."""
    found = {value: key for key, value in vars(generated.BuiltinOptions).items() if not key.startswith("_")}
    wanted = re.sub(r"_|2D|V2", "", name).lower()
    told = re.sub(r"2D|V2|Options", "", found[schema.OPERATORS[name].options]).lower()
    shared = {
        "averagepool": "pool",
        "maxpool": "pool",
        "mean": "reducer",
        "sum": "reducer",
        "reducemax": "reducer",
        "reducemin": "reducer",
        "maximum": "maximumminimum",
        "minimum": "maximumminimum",
        "conv": "conv",
    }
    assert told == shared.get(wanted, wanted)


def test_types_padding_and_activations_have_their_numbers() -> None:
    kinds = {"<f4": "FLOAT32", "<f2": "FLOAT16", "<i4": "INT32", "<i8": "INT64", "|b1": "BOOL", "|i1": "INT8"}
    assert {kind: getattr(generated.TensorType, name) for kind, name in kinds.items()} == schema.TYPES
    assert (schema.SAME, schema.VALID) == (generated.Padding.SAME, generated.Padding.VALID)
    activations = generated.ActivationFunctionType
    assert (schema.NONE, schema.RELU, schema.RELU_N1_TO_1, schema.RELU6) == (
        activations.NONE,
        activations.RELU,
        activations.RELU_N1_TO_1,
        activations.RELU6,
    )
