"""A real ladder for boards: scikit-learn's digits, a network whose rungs differ in latency and in megabytes of memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import tritonclient.http as triton
from sklearn.datasets import load_digits
from torch import Tensor, nn

from secateur.bundle.keys import Keys
from secateur.load import ArrayTask, Task
from secateur.pipeline import CompileSettings, compile

NAME = "digits"


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 24, 3, 1, 1), nn.ReLU(), nn.Conv2d(24, 32, 3, 1, 1), nn.ReLU())
        self.hidden = nn.Linear(32 * 64, 1536)
        self.head = nn.Linear(1536, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.hidden(torch.flatten(self.features(x), 1))))


def digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Handwritten digits of 8 by 8 and what they are."""
    found = load_digits()
    return (found.images[:, None] / 8 - 1).astype(np.float32), found.target.astype(np.int64)


def compile_ladder(folder: Path, keys: Keys, profile: str) -> Path:
    """Train for seconds and compile.

    Args:
        folder: gets bundle and workspace.
        keys: that sign it.
        profile: of the boards.

    Returns:
        The bundle.
    """
    torch.manual_seed(0)
    x, y = digits()
    module = _Network()
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)
    for _ in range(8):
        for start in range(0, 640, 64):
            optimiser.zero_grad()
            part = slice(start, start + 64)
            F.cross_entropy(module(torch.from_numpy(x[part])), torch.from_numpy(y[part])).backward()
            optimiser.step()
    task = Task(ArrayTask(x[:320], x[640:960], y[:320], y[640:960]), NAME)
    settings = CompileSettings(rungs=4, steps=12, precisions=("fp32",))
    return compile(module.eval(), task, [profile], folder, NAME, keys, settings).profiles[0].bundle


def infer(address: str, images: np.ndarray[Any, Any]) -> tuple[list[int], str]:
    """Infer on a board with the stock client.

    Returns:
        The digits and the rung that found them.
    """
    client = triton.InferenceServerClient(address, connection_timeout=60, network_timeout=60)
    try:
        described = client.get_model_metadata(NAME)
        x = triton.InferInput(described["inputs"][0]["name"], list(images.shape), "FP32")
        x.set_data_from_numpy(images)
        result = client.infer(NAME, [x])
        answer = result.as_numpy(described["outputs"][0]["name"]).argmax(1)
        return [int(each) for each in answer], str(result.get_response()["parameters"]["rung"])
    finally:
        client.close()
