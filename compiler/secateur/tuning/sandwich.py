"""Sandwich distillation: one set of shared weights, trained so that every subnetwork cut from it follows the original.

Yu, Huang: Universally Slimmable Networks, ICCV 2019 (the sandwich rule: largest, smallest and random widths in each step);
Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015. Every subnetwork has private scales and shifts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.ir import Network, Node, Samples, SecateurError, Table, sample_count, take
from secateur.tuning.balance import Balance
from secateur.tuning.recalibration import Statistics, recalibrate
from secateur.tuning.subnetwork import Index, Subnetwork
from secateur.twin import feeds, fixed_values, run
from secateur.twin.distance import output_distance
from secateur.twin.execute import channel_view

Loss = Callable[[Tensor, Tensor], Tensor]


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


@dataclass(frozen=True)
class Mixture:
    """Private values of a network between two tuned ones, made of theirs, as a later cut will make them.

    Attributes:
        larger: number of the next larger tuned network; ``of_larger``: table → which of its channels this one has.
        smaller: number of the next smaller one, or None; ``in_smaller``: table → where its channels lie in this one, but for
            tables of blocks that it lacks.
        share: how far this one is on the way from the larger (0) to the smaller (1).
    """

    larger: int
    of_larger: Mapping[str, Index]
    smaller: int | None
    in_smaller: Mapping[str, Index]
    share: float

    def mix(self, table: str, larger: Tensor, smaller: Tensor | None) -> Tensor:
        """Return the larger network's values for this one's channels, drawn towards the smaller's where it has them."""
        values = larger.index_select(0, torch.from_numpy(self.of_larger[table]))
        if smaller is None or table not in self.in_smaller:
            return values
        place = torch.from_numpy(self.in_smaller[table])
        return values.index_add(0, place, self.share * (smaller - values.index_select(0, place)))


@dataclass
class Between:
    """A network between two that are tuned, and what its private values are made of."""

    subnetwork: Subnetwork
    mixture: Mixture


class _Private(nn.Module):
    """Private gains and offsets of one subnetwork; normalises by batch statistics except at the output."""

    def __init__(self, subnetwork: Subnetwork, shared: Mapping[str, nn.Parameter]) -> None:
        super().__init__()
        network = subnetwork.network
        self.network = network
        self._shared = shared
        self._index = {
            name: [(axis, torch.from_numpy(kept)) for axis, kept in enumerate(axes) if len(kept) != shared[name].shape[axis]]
            for name, axes in subnetwork.index.items()
        }
        self.plain = {n.attrs["table"] for n in network.nodes if n.op == "Affine" and n.output in network.outputs}
        self.gain, self.offset = nn.ParameterDict(), nn.ParameterDict()
        for name, table in network.tables.items():
            target = subnetwork.targets[name]
            gain, offset = (table.scale, table.shift) if name in self.plain else (target.deviation, target.mean)
            self.gain[name] = nn.Parameter(torch.tensor(gain, dtype=torch.float32))
            self.offset[name] = nn.Parameter(torch.tensor(offset, dtype=torch.float32))
        self._sign = {name: torch.where(gain < 0, -1.0, 1.0) for name, gain in self.gain.items()}

    def weight(self, name: str) -> Tensor:
        value: Tensor = self._shared[name]
        for axis, kept in self._index[name]:
            value = value.index_select(axis, kept)
        return value

    def affine(self, node: Node, x: Tensor) -> Tensor:
        table, axis = node.attrs["table"], node.attrs["axis"]
        gain, offset = self.private(table)
        if table in self.plain:
            return x * channel_view(gain, axis, x.ndim) + channel_view(offset, axis, x.ndim)
        y = F.batch_norm(x.transpose(1, axis), None, None, gain, offset, training=True, eps=1e-5)
        return y.transpose(1, axis)

    def private(self, table: str) -> tuple[Tensor, Tensor]:
        """Return the gain and the offset of each channel of a table."""
        return self.gain[table], self.offset[table]

    def normalised(self) -> dict[str, Tensor]:
        """Return the gains of the tables behind a normalisation."""
        return {name: gain for name, gain in self.gain.items() if name not in self.plain}

    def keep_signs(self) -> None:
        """Gains keep the sign that they began with, so that no sign of a weight depends on the rung."""
        with torch.no_grad():
            for name, gain in self.gain.items():
                gain.copy_((gain * self._sign[name]).clamp_min(0.0) * self._sign[name])


class _Borrowing(_Private):
    """A network between two tuned ones; it has no private values of its own."""

    def __init__(self, between: Between, students: Sequence[_Private], shared: Mapping[str, nn.Parameter]) -> None:
        super().__init__(between.subnetwork, shared)
        self.gain, self.offset = nn.ParameterDict(), nn.ParameterDict()
        self._mixture = between.mixture
        # In a list: their parameters are not this module's.
        self._lenders = [students[between.mixture.larger]]
        self._lenders += [] if between.mixture.smaller is None else [students[between.mixture.smaller]]

    def private(self, table: str) -> tuple[Tensor, Tensor]:
        """Return the gain and the offset of each channel of a table."""
        gains, offsets = zip(*(lender.private(table) for lender in self._lenders if table in lender.gain))
        mix = self._mixture.mix
        return mix(table, *_pair(gains)), mix(table, *_pair(offsets))


def _pair(values: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None]:
    return values[0], values[1] if len(values) > 1 else None


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
    students = [_Private(subnetwork, shared) for subnetwork in subnetworks]
    others = [_Borrowing(each, students, shared) for each in between]
    networks, balance = [*students, *others], Balance(settings.balance)
    private = [parameter for student in students for parameter in student.parameters()]
    optimiser = torch.optim.SGD(
        [{"params": list(shared.values()), "weight_decay": settings.weight_decay}, {"params": private, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=True,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    followed = teacher or original
    wanted = fixed_values(followed)
    batches = _endless_batches(sample_count(inputs), settings.batch, rng)
    for step in range(settings.steps):
        chosen = next(batches)
        x = {name: _channels_last(value) for name, value in feeds(original, take(inputs, chosen)).items()}
        y = None if targets is None else torch.from_numpy(np.asarray(targets)[chosen])
        with torch.no_grad():
            expected = run(followed, x, wanted)
        optimiser.zero_grad(set_to_none=True)
        total = 0.0
        taken = _sandwich(len(students), settings.widths, rng)
        borrowing = rng.choice(len(others), min(settings.between, len(others)), replace=False) if others else ()
        for number in [*taken, *(len(students) + int(index) for index in borrowing)]:
            student = networks[number]
            got = run(student.network, x, student)
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
    goals = {name: Statistics(t.shift.astype(np.float64), t.scale.astype(np.float64)) for name, t in tables.items()}
    return recalibrate(network.with_values(tables=tables), goals, inputs)
