"""ONNX files come in whole, or are refused by one line that names the node."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tests.compiler.networks import MAKERS, TOPOLOGIES, export_folded_dynamo, folded_onnx, module_of, network_of, samples

from secateur.ir import Network, UnsupportedModelError
from secateur.load import load_onnx
from secateur.twin import fixed_values, run


def outputs_of(network: Network, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        found = run(network, {next(iter(network.inputs)): torch.from_numpy(x)}, fixed_values(network))
    return next(iter(found.values())).numpy()


def onnxruntime_outputs(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def model(nodes: list, inputs: dict | None = None, outputs: tuple = ("y",), opset: int = 18, **constants) -> onnx.ModelProto:
    shapes = inputs or {"x": ["batch", 4]}
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def refused(made: onnx.ModelProto) -> str:
    with pytest.raises(UnsupportedModelError) as caught:
        load_onnx(made)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_folded_file_computes_what_onnxruntime_does(name: str) -> None:
    x = samples(MAKERS[name][1], 5)
    expected = onnxruntime_outputs(folded_onnx(name), x)
    assert np.abs(outputs_of(network_of(name, folded=True), x) - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_file_with_batch_norms_computes_what_the_module_does(name: str) -> None:
    x = samples(MAKERS[name][1], 5)
    with torch.no_grad():
        expected = module_of(name)(torch.from_numpy(x)).numpy()
    assert np.abs(outputs_of(network_of(name), x) - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("folded", [False, True])
def test_scales_after_weights_are_not_negative_although_gammas_are(name: str, folded: bool) -> None:
    network = network_of(name, folded)
    makers = {node.output for node in network.nodes if "weight" in node.attrs}
    tables = [node.attrs["table"] for node in network.nodes if node.op == "Affine" and node.inputs[0] in makers]
    assert len(tables) == len(network.weights)
    assert all((network.tables[table].scale >= 0).all() for table in tables)


def test_the_new_exporters_folded_file_is_the_same_network() -> None:
    made = export_folded_dynamo(module_of("resnet-a"), MAKERS["resnet-a"][1])
    assert not any(node.op_type == "BatchNormalization" for node in made.graph.node)
    x = samples(MAKERS["resnet-a"][1], 5)
    expected = onnxruntime_outputs(made, x)
    assert np.abs(outputs_of(load_onnx(made), x) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_a_file_on_disk_is_read(tmp_path: Path) -> None:
    onnx.save(folded_onnx("mlp"), tmp_path / "net.onnx")
    assert load_onnx(tmp_path / "net.onnx").params == network_of("mlp", folded=True).params


def test_a_file_for_one_sample_becomes_one_for_any_batch() -> None:
    weight = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    nodes = [helper.make_node("Reshape", ["x", "to"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    network = load_onnx(model(nodes, {"x": [1, 3, 4]}, to=np.array([1, 12]), w=weight))
    x = samples((3, 4), 5)
    np.testing.assert_allclose(outputs_of(network, x), x.reshape(5, 12) @ weight, rtol=1e-4, atol=1e-5)


def test_an_unsupported_operator_is_named() -> None:
    made = model([helper.make_node("Cos", ["x"], ["y"], name="/head/Cos")])
    assert "node /head/Cos (Cos): operator not supported" in refused(made)


def test_a_second_output_that_nothing_makes_is_named_where_it_is_read() -> None:
    pool = helper.make_node("MaxPool", ["x"], ["p", "places"], kernel_shape=[2])
    alone = model([pool, helper.make_node("Relu", ["p"], ["y"])], {"x": ["batch", 2, 4]})
    assert load_onnx(alone).outputs == {"y": (-1, 2, 3)}
    read = helper.make_node("Cast", ["places"], ["y"], to=TensorProto.FLOAT, name="reader")
    assert "node reader (Cast): its input places is not computed" in refused(model([pool, read], {"x": ["batch", 2, 4]}))


def test_control_flow_is_named() -> None:
    branch = helper.make_graph([], "b", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1])])
    gate = helper.make_node("If", ["c"], ["y"], name="gate", then_branch=branch, else_branch=branch)
    made = model([gate], c=np.array(True))
    assert "node gate (If): control flow that depends on data" in refused(made)


def test_a_nan_weight_is_named() -> None:
    weight = np.ones((4, 3), np.float32)
    weight[1, 2] = np.nan
    assert "weight w has NaN" in refused(model([helper.make_node("MatMul", ["x", "w"], ["y"])], w=weight))


def test_a_weight_whose_shape_is_not_that_of_its_values_is_named() -> None:
    made = model([helper.make_node("MatMul", ["x", "w"], ["y"])], w=np.ones((4, 3), np.float32))
    made.graph.initializer[0].dims[:] = [5, 3]
    assert "weight w is damaged" in refused(made)


def test_a_weight_that_is_computed_from_data_is_named() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("MatMul", ["x", "r"], ["y"], name="attention")]
    assert "node attention (MatMul): a product of tensors of shapes (4,) and (4,) is not supported" in refused(model(nodes))


def test_another_domain_is_named() -> None:
    made = model([helper.make_node("FusedThing", ["x"], ["y"], name="f", domain="com.example")])
    assert "node f (FusedThing): operator of domain 'com.example'" in refused(made)


def test_an_input_of_an_unusual_element_type_is_refused() -> None:
    made = model([helper.make_node("Relu", ["x"], ["y"])])
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    assert "input x: its element type is not supported, only float32, int64, int32 are" in refused(made)


def test_a_dynamic_size_beside_the_batch_is_refused() -> None:
    assert "fixed sizes after it" in refused(model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["batch", 4, "time"]}))


def test_an_output_that_is_an_input_is_refused() -> None:
    assert "output y is the same tensor" in refused(model([helper.make_node("Identity", ["x"], ["y"])]))


def test_a_constant_that_adds_an_axis_is_refused() -> None:
    made = model([helper.make_node("Add", ["x", "c"], ["y"], name="add")], c=np.ones((1, 1, 4), np.float32))
    assert "node add (Add): a constant of shape" in refused(made)


def test_an_old_opset_is_refused_rather_than_misread() -> None:
    assert "opset 9" in refused(model([helper.make_node("Relu", ["x"], ["y"])], opset=9))


def test_a_file_that_is_not_onnx_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.onnx"
    path.write_text("these are not the weights you are looking for")
    with pytest.raises(UnsupportedModelError, match=r"notes\.onnx: not a valid ONNX file"):
        load_onnx(path)
    with pytest.raises(UnsupportedModelError, match="No such file"):
        load_onnx(tmp_path / "nowhere.onnx")


def test_tensors_named_like_ours_do_not_collide() -> None:
    rng = np.random.default_rng(0)
    w1, w2 = rng.normal(size=(4, 6)).astype(np.float32), rng.normal(size=(6, 3)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x1", "w1"], ["x0"]),
        helper.make_node("Relu", ["x0"], ["t"]),
        helper.make_node("MatMul", ["t", "w2"], ["x3"]),
    ]
    made = model(nodes, {"x1": ["batch", 4]}, ("x3",), w1=w1, w2=w2)
    x = samples((4,), 3)
    np.testing.assert_allclose(outputs_of(load_onnx(made), x), np.maximum(x @ w1, 0) @ w2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 3], dilations=[2, 1], strides=[1, 2], pads=[1, 0, 0, 1]),
        helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=[0, 1, 1, 0], count_include_pad=1),
        helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3, 2], auto_pad="VALID"),
        helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.2),
        helper.make_node("HardSigmoid", ["x"], ["y"]),
        helper.make_node("Softmax", ["x"], ["y"], axis=1),
        helper.make_node("Squeeze", ["pooled", "last"], ["y"]),
        helper.make_node("Clip", ["x", "low"], ["y"]),
        helper.make_node("Clip", ["x"], ["y"]),
        helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2, 2]),
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[0, 1, 2, 0], dilations=[1, 2]),
        helper.make_node("Slice", ["x", "starts", "ends"], ["y"]),
        helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1]),
        helper.make_node("Mul", ["x", "channel"], ["y"]),
        helper.make_node("Div", ["x", "channel"], ["y"]),
    ],
    ids=lambda node: node.op_type,
)
def test_each_operator_computes_what_onnxruntime_does(node: onnx.NodeProto) -> None:
    rng = np.random.default_rng(3)
    constants = {
        "w": rng.normal(size=(4, 3, 3, 2)).astype(np.float32),
        "low": np.float32(-0.5),
        "last": np.array([2, 3]),
        "starts": np.array([0, 1, 0, -5]),
        "ends": np.array([2**31, 3, 100, 7]),
        "channel": rng.uniform(0.5, 2, (3, 1, 1)).astype(np.float32),
    }
    nodes = [node]
    if "pooled" in node.input:
        nodes.insert(0, helper.make_node("GlobalAveragePool", ["x"], ["pooled"]))
    used = {name: value for name, value in constants.items() if name in node.input}
    if node.op_type == "Clip" and len(node.input) == 1:  # without bounds it does nothing; give it something to do nothing to
        nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Clip", ["r"], ["y"])]
    made = model(nodes, {"x": ["batch", 3, 7, 7]}, **used)
    x = samples((3, 7, 7), 2)
    np.testing.assert_allclose(outputs_of(load_onnx(made), x), onnxruntime_outputs(made, x), rtol=1e-4, atol=1e-5)


def test_axes_that_were_attributes_in_old_opsets_are_read() -> None:
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Squeeze", ["p"], ["y"], axes=[2, 3])]
    made = model(nodes, {"x": ["batch", 1, 4, 4]}, opset=11)
    x = samples((1, 4, 4), 3)
    got = outputs_of(load_onnx(made), x)
    assert got.shape == (3, 1)
    np.testing.assert_allclose(got, x.mean((2, 3)), rtol=1e-4, atol=1e-6)


@given(data=st.binary(max_size=200))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "random.onnx"
    path.write_bytes(data)
    with pytest.raises(UnsupportedModelError):
        load_onnx(path)


def test_a_weight_whose_data_do_not_fit_its_shape_is_refused() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(folded_onnx("mlp"))
    model.graph.initializer[0].dims[0] += 1
    with pytest.raises(UnsupportedModelError, match=f"weight {model.graph.initializer[0].name} is damaged"):
        load_onnx(model)


@given(position=st.integers(0, 10**6), value=st.integers(0, 255))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_with_a_wrong_byte_loads_or_is_refused(tmp_path: Path, position: int, value: int) -> None:
    data = bytearray(folded_onnx("mlp").SerializeToString())
    data[position % len(data)] = value
    path = tmp_path / "damaged.onnx"
    path.write_bytes(data)
    with contextlib.suppress(UnsupportedModelError):
        load_onnx(path)
