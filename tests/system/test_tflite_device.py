"""A device with TFLite, from the compiler to an answer: the same client, the same array, and its own operators measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import tritonclient.http as triton
from sklearn.datasets import load_digits
from tests.conftest import BrokerProcess
from tests.scripted_device import HostProcess
from tests.system.conftest import DEVICE, AgentProcess
from tests.system.stack import Stack
from torch import nn

from secateur.bundle.keys import Keys
from secateur.bundle.reader import BundleFolder
from secateur.evaluation import Session
from secateur.search.latency_table import read_table

PROFILE = "android-phone"


def digits() -> tuple[np.ndarray, np.ndarray]:
    found = load_digits()
    return (found.images[:, None] / 8 - 1).astype(np.float32), found.target.astype(np.int64)


@pytest.fixture
def stack(broker: BrokerProcess, keys: Keys, tmp_path: Path, make_agent: Callable[..., AgentProcess]) -> Stack:
    """A phone without a model, and its host."""
    folder = tmp_path / "host"
    folder.mkdir()
    host = HostProcess(folder, broker.url, "--keys", str(keys.folder))
    made = Stack(DEVICE, broker, host, make_agent(broker.url, profile=PROFILE))
    made.start()
    yield made
    host.kill()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small convolutional network as a file, and ``task.npz`` beside it."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 24, 3, 1, 1), nn.ReLU(), nn.Conv2d(24, 24, 3, 2, 1), nn.ReLU()]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10)).eval()
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "n"}, "y": {0: "n"}}}
    torch.onnx.export(module, (torch.zeros(2, 1, 8, 8),), str(tmp_path / "net.onnx"), dynamo=False, **names)
    x, y = digits()
    np.savez(tmp_path / "task.npz", x_train=x[:320], x_test=x[320:640], y_train=y[:320], y_test=y[320:640])
    return tmp_path / "net.onnx"


@pytest.mark.filterwarnings("ignore")
def test_a_phone_is_measured_gets_a_ladder_and_answers(stack: Stack, model: Path, keys: Keys, tmp_path: Path) -> None:
    def cli(*arguments: object) -> dict:
        changes = {"XDG_DATA_HOME": str(tmp_path / "share"), "SECATEUR_STATE": str(stack.host.state)}
        command = [sys.executable, "-m", "secateur.cli", *map(str, arguments), "--json"]
        ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | changes)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    made = cli("measure", DEVICE, "--model", model, "--precision", "int8", "--rounds", 1)
    table = read_table(Path(made["table"]))
    assert (table.key.device, table.key.profile, table.key.runtime) == (DEVICE, PROFILE, "tflite")
    assert made["points"] > 5

    compiling = ["compile", model, "--task", tmp_path / "task.npz", "--profile", PROFILE, "--rungs", 2, "--steps", 0]
    report = cli(*compiling, "--keys", keys.folder, "--measured-on", DEVICE, "-o", tmp_path / "out")
    assert {rung["latency_source"] for rung in report["profiles"][0]["rungs"]} == {"measured"}
    path = tmp_path / "out" / f"net-{PROFILE}.bundle"
    reported = stack.wait_committed(stack.push(path))

    x = digits()[0][:5]
    client = triton.InferenceServerClient(stack.agent.address, connection_timeout=30, network_timeout=30)
    given = triton.InferInput("x", list(x.shape), "FP32")
    given.set_data_from_numpy(x)
    y = client.infer("net", [given], outputs=[triton.InferRequestedOutput("y")]).as_numpy("y")
    assert client.get_model_metadata("net")["platform"] == "tensorflowlite"
    client.close()
    bundle = BundleFolder(path, keys.root)
    np.testing.assert_allclose(y, Session(bundle.materialise(reported["rung"])).run(x), atol=1e-5)
