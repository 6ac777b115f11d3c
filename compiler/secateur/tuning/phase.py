"""A training phase before channels are scored: the full network learns under a penalty, or besides a masked copy of itself.

The full network is trained in every step, so that it stays close to the original whatever is done to the copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.ir import Groups, Network, SecateurError, Table
from secateur.tuning.channels import ChannelMasks
from secateur.tuning.recalibration import measure_statistics
from secateur.tuning.regularisers import Parameters
from secateur.tuning.sandwich import Loss, SandwichSettings, _endless_batches, fold_statistics
from secateur.tuning.students import Student
from secateur.tuning.subnetwork import Subnetwork
from secateur.twin import fixed_values, run
from secateur.twin.distance import output_distance

Alive = Mapping[str, NDArray[np.bool_]]


@dataclass
class Masking:
    """How a masked copy is trained besides the full network.

    Attributes:
        choose: called every ``interval`` steps with the step and the network so far; returns which channels of each group
            remain.
        interval: steps from one choice to the next.
        regrow: gradients reach masked channels as if they were not masked, so that they can earn their place back.
    """

    choose: Callable[[int, Network], Alive]
    interval: int
    regrow: bool


@dataclass(frozen=True)
class Data:
    """Training and calibration data of a phase: inputs (samples, …), labels or None, and the task's loss or None."""

    inputs: NDArray[np.float32]
    calibration: NDArray[np.float32]
    targets: NDArray[np.generic] | None = None
    loss: Loss | None = None


Penalty = Callable[[int, Parameters], Tensor]
"""From the step and the parameters to what is added to the loss."""


def train_phase(
    network: Network,
    groups: Groups,
    data: Data,
    settings: SandwichSettings,
    penalty: Penalty | None = None,
    masking: Masking | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Network:
    """Train the full network and return it.

    Args:
        network: the full network, in any order; the teacher too.
        groups: its channel groups.
        data: what to train on.
        settings: how long and how hard; ``widths`` and ``between`` do not count.
        penalty: added to the loss.
        masking: trains a masked copy besides; both share weights, each has its own scales and shifts.
        on_step: called after each step with its number and loss.

    Returns:
        The network with trained weights, and tables that fit them on the calibration data.

    Raises:
        SecateurError: if there are too few inputs to normalise a batch.
    """
    if len(data.inputs) < 2:
        raise SecateurError("training phase: it needs at least two training samples; give more data or leave it out")
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    shared = {name: nn.Parameter(torch.tensor(weight)) for name, weight in network.weights.items()}
    whole = {name: tuple(np.arange(size) for size in weight.shape) for name, weight in network.weights.items()}
    channels = {name: np.arange(table.scale.size) for name, table in network.tables.items()}
    start = Subnetwork(network, whole, channels, measure_statistics(network, data.calibration))
    full = Student(start, shared)
    students = [full] if masking is None else [full, Student(start, shared)]
    masks = ChannelMasks(network, groups, masking is not None and masking.regrow)
    private = [parameter for student in students for parameter in student.parameters()]
    optimiser = torch.optim.SGD(
        [{"params": list(shared.values()), "weight_decay": settings.weight_decay}, {"params": private, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=True,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(settings.steps, 1))
    teacher, name = fixed_values(network), next(iter(network.inputs))
    batches = _endless_batches(len(data.inputs), settings.batch, rng)
    for step in range(settings.steps):
        if masking is not None and step % masking.interval == 0:
            masks.set(masking.choose(step, _network(network, shared, full, data.calibration)))
        chosen = next(batches)
        x = torch.from_numpy(data.inputs[chosen])
        with torch.no_grad():
            expected = run(network, {name: x}, teacher)
        optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for student in students:
            got = run(network, {name: x}, student, on_tensor=None if student is full else masks.on_tensor)
            value = sum(
                (output_distance(got[key], expected[key], settings.temperature) for key in expected), torch.zeros(())
            )
            if data.loss is not None and data.targets is not None:
                value = value + data.loss(next(iter(got.values())), torch.from_numpy(np.asarray(data.targets)[chosen]))
            if penalty is not None and student is full:
                value = value + penalty(step, Parameters(shared, full.normalised()))
            value.backward()  # type: ignore[no-untyped-call]
            total += float(value.detach())
        nn.utils.clip_grad_norm_([*shared.values(), *private], 10.0)
        optimiser.step()
        schedule.step()
        for student in students:
            student.keep_signs()
        if on_step is not None:
            on_step(step + 1, total)
    return _network(network, shared, full, data.calibration)


def _network(
    network: Network, shared: Mapping[str, nn.Parameter], full: Student, calibration: NDArray[np.float32]
) -> Network:
    weights = {name: parameter.detach().numpy().copy() for name, parameter in shared.items()}
    tables = {
        name: Table(full.gain[name].detach().numpy().copy(), full.offset[name].detach().numpy().copy()) for name in full.gain
    }
    trained = network.with_values(weights=weights)
    return trained.with_values(tables=fold_statistics(trained, tables, calibration))


def fold_scales(network: Network) -> Network:
    """Move what sets a channel's scale apart from its layer's mean into its filters, where criteria of weights see it.

    The function does not change, and filters are as large as before on the whole: behind a normalisation, larger ones would
    learn more slowly. A scale near zero leaves a small filter, not a dead one, so that it can be tuned later.

    Args:
        network: in normal form.
    """
    weights, tables = dict(network.weights), dict(network.tables)
    readers = network.consumers()
    uses = [node.attrs["weight"] for node in network.nodes if "weight" in node.attrs]
    for node in network.nodes:
        name = node.attrs.get("weight", "")
        after = readers.get(node.output, [])
        if not name or uses.count(name) != 1 or len(after) != 1 or after[0].op != "Affine":
            continue
        table = after[0].attrs["table"]
        if sum(other.attrs.get("table") == table for other in network.nodes) != 1:
            continue
        scale = network.tables[table].scale.astype(np.float64)
        mean = max(float(np.abs(scale).mean()), 1e-12)
        factor = np.maximum(np.abs(scale) / mean, 1e-3)
        weight = weights[name].astype(np.float64)
        weights[name] = (weight * factor.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.float32)
        tables[table] = Table((scale / factor).astype(np.float32), network.tables[table].shift)
    return network.with_values(weights=weights, tables=tables)
