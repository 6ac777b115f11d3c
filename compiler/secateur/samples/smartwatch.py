"""The demonstration's task: which of seven physiotherapy exercises does a person with a smartwatch do?

The recordings are the real ones of the seglearn package (BSD licence; Burns, Whyne: Seglearn, JMLR 2018): 140 recordings of
10 people, accelerometer and gyroscope, 50 Hz. Windows of 100 samples; people are kept apart: seven train the network, one
validates it, two are never seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import metadata

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.ir import SecateurError
from secateur.twin.operators.convolution import depthwise

WINDOW, AXES, CLASSES = 100, 6, 7
TRAIN_STEP, VALIDATION_STEP, TEST_STEP = 50, 10, 25
"""Samples from one window to the next; one person validates, so that person's windows overlap more."""
VALIDATION_PEOPLE = (4,)
TEST_PEOPLE = (9, 10)

Array = NDArray[np.float32]


def read_recordings() -> tuple[list[Array], NDArray[np.int64], NDArray[np.int64]]:
    """Return recordings (time, axis), the exercise of each, and the person of each.

    Raises:
        SecateurError: if the package with the recordings is not installed.
    """
    try:
        path = metadata.distribution("seglearn").locate_file("seglearn/data/watch_dataset.npy")
    except metadata.PackageNotFoundError:
        raise SecateurError("smartwatch sample: its recordings are not installed; pip install 'seglearn==1.2.5'") from None
    # A pickled dict of arrays, from a pinned release of a package that pip has verified.
    content = np.load(str(path), allow_pickle=True).item()
    recordings = [np.asarray(x, np.float32) for x in content["X"]]
    return recordings, np.asarray(content["y"], np.int64), np.asarray(content["subject"], np.int64)


class SmartwatchTask:
    """The task: windows (samples, axis, time), standardised with the training people's mean and deviation."""

    metric_name = "accuracy"

    def __init__(self) -> None:
        """Cut the recordings into windows."""
        recordings, exercises, people = read_recordings()
        held = (*VALIDATION_PEOPLE, *TEST_PEOPLE)
        train = [r for r, person in zip(recordings, people) if person not in held]
        stacked = np.concatenate(train)
        mean, deviation = stacked.mean(0), stacked.std(0)

        def windows(wanted: Callable[[int], bool], step: int) -> tuple[Array, NDArray[np.int64]]:
            parts, labels = [], []
            for recording, exercise, person in zip(recordings, exercises, people):
                if wanted(int(person)):
                    scaled = (recording - mean) / deviation
                    for start in range(0, len(scaled) - WINDOW + 1, step):
                        parts.append(scaled[start : start + WINDOW].T)
                        labels.append(int(exercise))
            return np.ascontiguousarray(np.stack(parts), np.float32), np.asarray(labels, np.int64)

        self._splits = {
            "train": windows(lambda person: person not in held, TRAIN_STEP),
            "validation": windows(lambda person: person in VALIDATION_PEOPLE, VALIDATION_STEP),
            "test": windows(lambda person: person in TEST_PEOPLE, TEST_STEP),
        }
        inputs, labels = self._splits["train"]
        chosen = np.random.default_rng(0).permutation(len(inputs))[:512]
        self._splits["calibration"] = (inputs[chosen], labels[chosen])

    def batches(self, split: str) -> Iterable[tuple[Array, NDArray[np.int64]]]:
        """Return the split as one batch."""
        return [self._splits[split]]


class _Separable(nn.Module):
    """A depthwise convolution over time, then a pointwise one, each with batch norm."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(channels_in, channels_in, 9, stride, 4, groups=channels_in, bias=False)
        self.bn1 = nn.BatchNorm1d(channels_in)
        self.pointwise = nn.Conv1d(channels_in, channels_out, 1, bias=False)
        self.bn2 = nn.BatchNorm1d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (batch, channel, time)."""
        if self.training:
            layer = self.depthwise
            x = depthwise(x, layer.weight, layer.stride, layer.padding, layer.dilation)  # type: ignore[arg-type]
        else:
            x = self.depthwise(x)
        x = F.relu(self.bn1(x))
        return F.relu(self.bn2(self.pointwise(x)))


class SmartwatchNetwork(nn.Module):
    """A 1-D convolutional network of 131 thousand parameters with depthwise separable convolutions."""

    def __init__(self) -> None:
        """Make it with random weights."""
        super().__init__()
        self.stem = nn.Conv1d(AXES, 64, 9, 1, 4, bias=False)
        self.bn = nn.BatchNorm1d(64)
        self.blocks = nn.Sequential(
            _Separable(64, 128, 2),
            _Separable(128, 128, 1),
            _Separable(128, 192, 2),
            _Separable(192, 192, 1),
            _Separable(192, 192, 1),
        )
        self.head = nn.Linear(192, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, exercise) for windows (batch, axis, time)."""
        x = self.blocks(F.relu(self.bn(self.stem(x))))
        return self.head(x.mean(2))  # type: ignore[no-any-return]


def train_smartwatch(
    task: SmartwatchTask, epochs: int = 6, seed: int = 0, on_epoch: Callable[[int, int], None] | None = None
) -> SmartwatchNetwork:
    """Train the network on the seven training people.

    Args:
        task: the data.
        epochs: passes over the training windows.
        seed: of weights, order and noise.
        on_epoch: told the epoch and how many there are.
    """
    torch.manual_seed(seed)
    network = SmartwatchNetwork()
    x, y = (torch.from_numpy(part) for part in next(iter(task.batches("train"))))
    steps = epochs * (len(x) // 64)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for epoch in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x) - 63, 64):
            chosen = order[start : start + 64]
            noisy = x[chosen] * (1 + 0.1 * torch.randn(len(chosen), AXES, 1)) + 0.05 * torch.randn(len(chosen), AXES, WINDOW)
            loss = F.cross_entropy(network(noisy), y[chosen], label_smoothing=0.1)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        if on_epoch is not None:
            on_epoch(epoch + 1, epochs)
    return network.eval()
