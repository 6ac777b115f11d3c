"""A TFLite file by itself: names tell how axes were moved, and nothing else is taken for that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import lite_rungs

pytest.importorskip("ai_edge_litert", reason="no TFLite runtime for this Python: pip install 'secateur-agent[tflite]'")
from secateur_agent.inference.tflite_model import LiteModel


def test_bytes_and_a_path_are_the_same(tmp_path: Path) -> None:
    load = lite_rungs.write(tmp_path, lite_rungs.linear(2.0))
    x = np.ones((1, 4), np.float32)
    for content in (load.path, Path(load.path).read_bytes()):
        np.testing.assert_allclose(LiteModel(content).run({"x": x})["y"], [[8.0, 8.0]])


def test_shapes_are_told_with_the_networks_axes(tmp_path: Path) -> None:
    model = LiteModel(lite_rungs.write(tmp_path, lite_rungs.image(1.0)).path)
    (x,), (y,) = model.inputs, model.outputs
    assert (x.name, x.shape, x.axes) == ("x", (1, 3, 4, 5), (0, 2, 3, 1))
    assert (y.name, y.shape, y.axes) == ("y", (1, 3, 4, 5), (0, 2, 3, 1))


@pytest.mark.parametrize("name", ["x:0", "scope/x:0,1,1", "x:1,2", "x:0,1"])
def test_a_name_of_someone_elses_is_left_alone(tmp_path: Path, name: str) -> None:
    network = lite_rungs.linear(1.0)
    network.inputs = {name: (-1, 4)}
    network.shapes[name] = network.shapes.pop("x")
    network.nodes[0] = type(network.nodes[0])("Linear", (name,), "h", {"weight": "w"})
    model = LiteModel(lite_rungs.write(tmp_path, network).path)
    assert [each.name for each in model.inputs] == [name]
