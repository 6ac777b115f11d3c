"""The unchanged client of the Open Inference Protocol against a device that got its model by a push."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
from tests.bundle_factory import make_bundle
from tests.system.stack import Stack, X, expected, infer_soon
from tritonclient.utils import InferenceServerException

from secateur.bundle.keys import Keys


def test_tritonclient_infers_in_json_and_binary_against_a_pushed_bundle(
    make_stack: Callable[..., Stack], keys: Keys, tmp_path: Path
) -> None:
    stack = make_stack()
    stack.wait_committed(stack.push(make_bundle(tmp_path, keys, name="pushed", widths=(16, 8))))
    stack.call("pin", stack.device, "r1-fp32")
    stack.eventually("pinned rung", lambda: infer_soon(stack.agent, "pushed")[1] == "r1-fp32")

    client = triton.InferenceServerClient(stack.agent.address, connection_timeout=30, network_timeout=30)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("pushed")
    described = client.get_model_metadata("pushed")
    assert [(each["name"], each["datatype"]) for each in described["inputs"]] == [("x", "FP32")]
    batch = np.repeat(X, 3, axis=0)
    for binary_in in (True, False):
        for binary_out in (True, False):
            x = triton.InferInput("x", list(batch.shape), "FP32")
            x.set_data_from_numpy(batch, binary_data=binary_in)
            result = client.infer("pushed", [x], outputs=[triton.InferRequestedOutput("y", binary_data=binary_out)])
            np.testing.assert_allclose(result.as_numpy("y"), np.repeat(expected(8), 3, axis=0), rtol=1e-5)
    for name, shape in (("x", [1, 5]), ("x", [4]), ("z", [1, 4])):
        wrong = triton.InferInput(name, shape, "FP32")
        wrong.set_data_from_numpy(np.zeros(shape, np.float32))
        with pytest.raises(InferenceServerException) as refused:
            client.infer("pushed", [wrong])
        assert refused.value.status() == "400"
        assert "\n" not in refused.value.message()
    client.close()
