"""The networks that sandwich distillation trains together: shared weights, private gains and offsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from secateur.ir import Node
from secateur.tuning.subnetwork import Index, Subnetwork
from secateur.twin.execute import channel_view

OnTensor = Callable[[str, Tensor], "Tensor | None"]
"""May replace any tensor of a network that is run."""


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


class Student(nn.Module):
    """Private gains and offsets of one subnetwork; normalises by batch statistics except at the output."""

    def __init__(self, subnetwork: Subnetwork, shared: Mapping[str, Tensor], on_tensor: OnTensor | None = None) -> None:
        super().__init__()
        self.on_tensor = on_tensor
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


class Borrower(Student):
    """A network between two tuned ones; it has no private values of its own."""

    def __init__(self, between: Between, students: Sequence[Student], shared: Mapping[str, Tensor]) -> None:
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
