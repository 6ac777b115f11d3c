"""A device with TFLite, from the compiler to an answer: the same client, the same array, and its own operators measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
from tests.embedded_broker import BrokerProcess
from tests.scripted_device import HostProcess
from tests.system.command_line import Cli
from tests.system.conftest import DEVICE, AgentProcess
from tests.system.stack import Stack

from secateur.bundle.keys import Keys
from secateur.bundle.reader import BundleFolder
from secateur.evaluation import Session
from secateur.search.latency_table import read_table

PROFILE = "android-phone"


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


def test_a_phone_is_measured_gets_a_ladder_and_answers(stack: Stack, model: Path, keys: Keys, tmp_path: Path) -> None:
    cli = Cli(tmp_path, stack).run
    made = cli("measure", DEVICE, "--model", model, "--precision", "int8", "--rounds", 1)
    table = read_table(Path(made["table"]))
    assert (table.key.device, table.key.profile, table.key.runtime) == (DEVICE, PROFILE, "tflite")
    assert made["points"] > 5

    compiling = ["compile", model, "--task", model.with_name("task.npz"), "--profile", PROFILE, "--rungs", 2, "--steps", 0]
    report = cli(*compiling, "--keys", keys.folder, "--measured-on", DEVICE, "-o", tmp_path / "out")
    assert {rung["latency_source"] for rung in report["profiles"][0]["rungs"]} == {"measured"}
    path = tmp_path / "out" / f"net-{PROFILE}.bundle"
    reported = stack.wait_committed(stack.push(path))

    x = np.load(model.with_name("task.npz"))["x_test"][:5]
    client = triton.InferenceServerClient(stack.agent.address, connection_timeout=30, network_timeout=30)
    given = triton.InferInput("x", list(x.shape), "FP32")
    given.set_data_from_numpy(x)
    y = client.infer("net", [given], outputs=[triton.InferRequestedOutput("y")]).as_numpy("y")
    assert client.get_model_metadata("net")["platform"] == "tensorflowlite"
    client.close()
    bundle = BundleFolder(path, keys.root)
    np.testing.assert_allclose(y, Session(bundle.materialise(reported["rung"])).run(x), atol=1e-5)
