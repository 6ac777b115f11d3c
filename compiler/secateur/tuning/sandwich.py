"""Sandwich distillation: one set of shared weights, trained so that every subnetwork cut from it follows the original.

Yu, Huang: Universally Slimmable Networks, ICCV 2019 (the sandwich rule: largest, smallest and random widths in each step);
Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015. Every subnetwork has private scales and shifts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.ir import Network, Samples, SecateurError, Table, sample_count, take
from secateur.tuning.balance import Balance
from secateur.tuning.recalibration import Statistics, recalibrate
from secateur.tuning.students import Between, Borrower, OnTensor, Student
from secateur.tuning.subnetwork import Index, Subnetwork
from secateur.tuning.teacher import Teacher
from secateur.twin import feeds, run
from secateur.twin.distance import output_distance

Loss = Callable[[Tensor, Tensor], Tensor]
FEW_PASSES = 3
"""If one batch for all networks of a step would show each sample no more often than this, each network has its own batch."""


@dataclass(frozen=True)
class Rounding:
    """How a file will round what is tuned, so that tuning sees it (Jacob et al., CVPR 2018).

    Attributes:
        weights: those that will be int8, each output channel with a scale of its own.
        on_tensor: for each subnetwork, what rounds its tensors.
    """

    weights: Collection[str]
    on_tensor: Sequence[OnTensor]


def hold_zeros(weights: Mapping[str, NDArray[np.float32]]) -> Callable[[Mapping[str, Tensor]], None]:
    """Return what keeps the zeros of these weights, for ``after_step`` of `distil`."""
    masks = {name: torch.from_numpy(weight != 0) for name, weight in weights.items() if not weight.all()}

    def hold(shared: Mapping[str, Tensor]) -> None:
        for name, mask in masks.items():
            shared[name].mul_(mask)

    return hold


@dataclass(frozen=True)
class SandwichSettings:
    """How long and how hard to tune.

    Attributes:
        steps: optimiser steps; each trains ``widths`` subnetworks and ``between`` others, and counts as that many.
        widths: subnetworks trained in one step: largest, smallest, the rest at random.
        between: networks between them trained in one step, besides.
        balance: 0 sums their losses as they are, so that small networks count most; 1 makes all count the same.
    """

    steps: int = 300
    widths: int = 3
    between: int = 3
    balance: float = 0.0
    batch: int = 128
    learning_rate: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 5e-4
    temperature: float = 4.0
    seed: int = 0


def distil(
    original: Network,
    subnetworks: list[Subnetwork],
    inputs: Samples,
    settings: SandwichSettings,
    targets: NDArray[np.generic] | None = None,
    loss: Loss | None = None,
    on_step: Callable[[int, float], None] | None = None,
    between: Sequence[Between] = (),
    start: Mapping[str, NDArray[np.float32]] | None = None,
    teacher: Network | None = None,
    after_step: Callable[[Mapping[str, Tensor]], None] | None = None,
    rounding: Rounding | None = None,
) -> tuple[dict[str, NDArray[np.float32]], list[dict[str, Table]]]:
    """Tune the shared weights and every subnetwork's private values.

    Args:
        original: the full network, sorted; the teacher, and where the shared weights begin unless ``start`` says otherwise.
        subnetworks: largest first, smallest last.
        inputs: training inputs, (samples, …).
        settings: how long and how hard.
        targets: labels, if the task's own loss is to be added.
        loss: the task's own loss, of the first output.
        on_step: called after each step with its number and loss.
        between: networks that are not rungs, but should work after recalibration alone.
        start: shared weights to begin with, if not the original's.
        teacher: the network to follow, if the shared weights are not its own.
        after_step: may change the shared weights in place after each step, to hold them to a pattern.
        rounding: how the file will round; gradients pass through it. None tunes in float.

    Returns:
        The shared weights, and for each subnetwork its tables: *gains and offsets of normalised channels*, to be folded by
        `fold_statistics` on calibration data.

    Raises:
        SecateurError: if there are too few inputs to normalise a batch.
    """
    if sample_count(inputs) < 2:
        raise SecateurError("tuning: it needs at least two training samples; give more data or --steps 0")
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    shared = {name: nn.Parameter(torch.tensor(weight)) for name, weight in (start or original.weights).items()}
    seen: dict[str, Tensor] = dict(shared)
    hooks: Sequence[OnTensor | None] = rounding.on_tensor if rounding else [None] * len(subnetworks)
    students = [Student(subnetwork, seen, hook) for subnetwork, hook in zip(subnetworks, hooks, strict=True)]
    others = [Borrower(each, students, seen) for each in between]
    networks, balance = [*students, *others], Balance(settings.balance)
    private = [parameter for student in students for parameter in student.parameters()]
    optimiser = torch.optim.SGD(
        [{"params": list(shared.values()), "weight_decay": settings.weight_decay}, {"params": private, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=True,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    expect = Teacher(teacher or original, inputs)
    batches = _endless_batches(sample_count(inputs), settings.batch, rng)
    own = settings.steps * settings.batch <= FEW_PASSES * sample_count(inputs)
    for step in range(settings.steps):
        optimiser.zero_grad(set_to_none=True)
        if rounding is not None:
            seen.update({name: _straight_through(shared[name]) for name in rounding.weights})
        total = 0.0
        taken = _sandwich(len(students), settings.widths, rng)
        borrowing = rng.choice(len(others), min(settings.between, len(others)), replace=False) if others else ()
        for place, number in enumerate([*taken, *(len(students) + int(index) for index in borrowing)]):
            if own or place == 0:
                chosen = next(batches)
                x = {name: _channels_last(value) for name, value in feeds(original, take(inputs, chosen)).items()}
                y = None if targets is None else torch.from_numpy(np.asarray(targets)[chosen])
                expected = expect(chosen)
            student = networks[number]
            got = run(student.network, x, student, on_tensor=student.on_tensor)
            value = sum(
                (
                    output_distance(got[key], expected[key], settings.temperature)
                    for key in expected
                    if got[key].is_floating_point()
                ),
                torch.zeros(()),
            )
            if loss is not None and y is not None:
                value = value + loss(next(iter(got.values())), y)
            found = float(value.detach())
            (value * balance.weight(number, found)).backward()  # type: ignore[no-untyped-call]
            total += found
        nn.utils.clip_grad_norm_([*shared.values(), *private], 10.0)
        optimiser.step()
        schedule.step()
        for student in students:
            student.keep_signs()
        if after_step is not None:
            with torch.no_grad():
                after_step(shared)
        if on_step is not None:
            on_step(step + 1, total)
    weights = {key: parameter.detach().numpy().copy() for key, parameter in shared.items()}
    tables = [
        {
            key: Table(student.gain[key].detach().numpy().copy(), student.offset[key].detach().numpy().copy())
            for key in student.gain
        }
        for student in students
    ]
    return weights, tables


def _straight_through(weight: Tensor) -> Tensor:
    """Round a weight to what eight bits hold; the gradient is that of the exact one (Bengio, Léonard, Courville, 2013)."""
    with torch.no_grad():
        scale = weight.abs().flatten(1).amax(1).clamp_min(1e-20).div(127).reshape(-1, *[1] * (weight.ndim - 1))
        off = (weight / scale).round() * scale - weight
    return weight + off


def _channels_last(x: Tensor) -> Tensor:
    """Convolutions of pictures train a third faster when channels lie next to each other."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _endless_batches(count: int, batch: int, rng: np.random.Generator) -> Iterator[Index]:
    while True:
        order = rng.permutation(count)
        for start in range(0, max(1, count - batch + 1), batch):
            yield order[start : start + batch]


def _sandwich(count: int, widths: int, rng: np.random.Generator) -> list[int]:
    if count <= widths:
        return list(range(count))
    middle = rng.choice(np.arange(1, count - 1), widths - 2, replace=False)
    return [0, *sorted(int(i) for i in middle), count - 1]


def fold_statistics(network: Network, tables: Mapping[str, Table], inputs: Samples) -> dict[str, Table]:
    """Turn gains and offsets of normalised channels into the scales and shifts of ``y = scale · x + shift``.

    Args:
        network: the cut network with the tuned weights.
        tables: gains and offsets from `distil`.
        inputs: calibration inputs.
    """
    return recalibrate(network.with_values(tables=tables), statistics_of(tables), inputs)


def statistics_of(tables: Mapping[str, Table]) -> dict[str, Statistics]:
    """Return the statistics that channels should have: tuned gains are their deviations, tuned offsets their means."""
    return {name: Statistics(t.shift.astype(np.float64), t.scale.astype(np.float64)) for name, t in tables.items()}
