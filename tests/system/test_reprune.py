"""The device asks for a rung between two others, the host cuts it, the device serves it."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import tritonclient.http as triton
from sklearn.datasets import load_digits
from tests.system.stack import Agent, Stack, infer_soon
from tests.system.witness import Witness
from torch import Tensor, nn

from secateur.bundle.keys import Keys
from secateur.load import ArrayTask, Task
from secateur.pipeline import CompileSettings, compile
from secateur_agent.bundle.manifest import Recut
from secateur_agent.protocol.messages import Desired
from secateur_agent.trust import open_signed

WIDTH = 64


class Digits(nn.Module):
    """Three convolutions with batch norm: large enough that its rungs differ in latency more than a clock's noise."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width_in in (1, WIDTH, WIDTH):
            layers += [nn.Conv2d(width_in, WIDTH, 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


def digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """scikit-learn's handwritten digits at 16 by 16, and what they are."""
    found = load_digits()
    return np.kron(found.images[:, None] / 8 - 1, np.ones((2, 2))).astype(np.float32), found.target.astype(np.int64)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    """A real bundle with its workspace beside it, of a network that was trained for seconds."""
    torch.manual_seed(0)
    x, y = digits()
    module = Digits()
    optimiser = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(6):
        for start in range(0, 640, 64):
            optimiser.zero_grad()
            F.cross_entropy(
                module(torch.from_numpy(x[start : start + 64])), torch.from_numpy(y[start : start + 64])
            ).backward()
            optimiser.step()
    task = Task(ArrayTask(x[:320], x[640:960], y[:320], y[640:960]), "digits")
    out = tmp_path_factory.mktemp("compiled")
    settings = CompileSettings(rungs=3, steps=0, precisions=("fp32",))
    result = compile(module.eval(), task, ["linux-x86-64"], out, "digits", keys, settings)
    return result.profiles[0].bundle


def digit(agent: Agent, image: np.ndarray[Any, Any]) -> tuple[int, str]:
    """Infer one image; return the digit and the rung that found it."""
    client = triton.InferenceServerClient(agent.address, connection_timeout=30, network_timeout=30)
    described = client.get_model_metadata("digits")
    x = triton.InferInput(described["inputs"][0]["name"], list(image.shape), "FP32")
    x.set_data_from_numpy(image)
    result = client.infer("digits", [x])
    return int(result.as_numpy(described["outputs"][0]["name"]).argmax()), result.get_response()["parameters"]["rung"]


def test_an_objective_between_two_rungs_is_met_by_one_that_the_host_cuts(
    make_stack: Callable[..., Stack], witness: Witness, keys: Keys, compiled: Path
) -> None:
    stack = make_stack()
    infer_soon(stack.agent)
    manifest_sha256 = stack.push(compiled, 64)
    reported = stack.wait_committed(manifest_sha256)
    measured = {each["rung"]: each["latency_p50_ms"] for each in reported["measurements"]}
    assert set(measured) == set(reported["rungs"])
    # The two neighbours that lie farthest apart on this very machine, and the middle between them.
    above, below = max(pairwise(reported["rungs"]), key=lambda pair: measured[pair[0]] / measured[pair[1]])
    objective_ms = math.sqrt(measured[above] * measured[below])
    stack.call("policy", stack.device, {"latency_ms": objective_ms, "reprune_min_interval_s": 0.0})

    ask = witness.wait("ask", lambda w: w.reprunes[0] if w.reprunes else None)
    assert ask is not None
    assert ask.manifest_sha256 == manifest_sha256
    assert ask.constraints.latency_ms == pytest.approx(objective_ms)
    assert {each.rung for each in ask.measurements} == set(measured)
    witness.wait("answer", lambda w: [answer for answer in w.answers if answer.status != "accepted"])
    assert [answer.status for answer in witness.answers[:2]] == ["accepted", "done"], witness.answers

    row = stack.call("reprunes")[0]
    rung = row["rung"]
    assert rung not in measured
    stack.eventually("re-cut rung in the ladder", lambda: rung in stack.call("device", stack.device)["reported"]["rungs"])
    x, y = digits()
    # Whether the governor prefers it depends on what this machine measured just now; a pin makes it serve in any case.
    stack.call("pin", stack.device, rung)
    stack.eventually("re-cut rung serves", lambda: digit(stack.agent, x[:1])[1] == rung)
    answers = [digit(stack.agent, x[i : i + 1])[0] for i in range(700, 720)]
    assert np.mean(np.equal(answers, y[700:720])) >= 0.5

    desired = open_signed(keys.root, "command", (stack.agent.state / "desired.json").read_bytes(), Desired, "shadow")
    ref = desired.recuts[0]
    recut = open_signed(keys.root, "recut", base64.b64decode(ref.envelope), Recut, "re-cut rung")
    assert (recut.bundle, recut.rung.id, recut.rung.recipe) == (manifest_sha256, rung, ref.recipe.sha256)
    assert row["bytes"] < 64_000
