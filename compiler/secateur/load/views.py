"""Views: ONNX tensors as rearrangements of tensors of the network, so that the batch stays the first axis.

An exporter may move the batch (recurrent layers, attention with the sequence first) or join it with another axis (heads).
Reshapes and transposes are therefore only noted, as in einops; what reads a view gets the batch in front, and what it makes
is put back behind the same view. Most chains of reshapes and transposes dissolve in this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod


class Atom:
    """A part of an axis that no reshape has split so far; axes of size 1 have no atoms."""

    def __init__(self, size: int) -> None:
        self.size = size


Group = list[Atom]


class MixedAxesError(ValueError):
    """A reshape puts the border between two axes inside another axis."""


@dataclass
class View:
    """A rearrangement of a tensor.

    Attributes:
        source: the tensor of the network.
        axes: the atoms of each of its axes, in order; the batch is the first axis.
        groups: the atoms of each axis of the ONNX tensor.
        origin: name of the ONNX node that rearranged it last, and the label for errors.
    """

    source: str
    axes: list[Group]
    groups: list[Group]
    origin: tuple[str, str] = ("", "")

    @property
    def batch(self) -> Atom:
        """The batch's atom."""
        return self.axes[0][0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the ONNX tensor."""
        return tuple(prod(atom.size for atom in group) for group in self.groups)

    @property
    def batch_first(self) -> bool:
        """Whether the batch is an axis of its own, the first."""
        return bool(self.groups) and self.groups[0] == [self.batch]

    @property
    def key(self) -> tuple[object, ...]:
        """What two equal views have in common."""
        place = {id(atom): (i, j) for i, axis in enumerate(self.axes) for j, atom in enumerate(axis)}
        sizes = tuple(tuple(atom.size for atom in axis) for axis in self.axes)
        return self.source, sizes, tuple(tuple(place[id(atom)] for atom in group) for group in self.groups)

    def regrouped(self, groups: list[Group], origin: tuple[str, str] | None = None) -> View:
        """Return the same tensor with its atoms in other groups."""
        return View(self.source, self.axes, groups, origin or self.origin)

    def batch_swapped(self, place: int = 0) -> View:
        """Return the view with the batch on axis ``place``, if that is of size 1 and the batch an axis of its own."""
        at = self.groups.index([self.batch]) if [self.batch] in self.groups else place
        if at == place or self.groups[place]:
            return self
        groups = list(self.groups)
        groups[at], groups[place] = groups[place], groups[at]
        return self.regrouped(groups)

    def transposed(self, perm: Sequence[int], origin: tuple[str, str]) -> View:
        """Return the view with its axes in another order."""
        return self.regrouped([self.groups[axis] for axis in perm], origin)

    def reshaped(self, target: Sequence[int], origin: tuple[str, str]) -> View:
        """Return the view with its elements in axes of other sizes; atoms are split where that is needed.

        Raises:
            MixedAxesError: if a border between axes falls inside another axis.
        """
        axes = [list(axis) for axis in self.axes]
        left = [atom for group in self.groups for atom in group]
        groups: list[Group] = []
        for size in target:
            group: Group = []
            while prod(atom.size for atom in group) != size:
                wanted = size // prod(atom.size for atom in group)
                if not left or size % prod(atom.size for atom in group) or wanted < 2:
                    raise MixedAxesError
                atom = left.pop(0)
                if wanted % atom.size:
                    if atom.size % wanted or atom is self.batch:
                        raise MixedAxesError
                    parts = [Atom(wanted), Atom(atom.size // wanted)]
                    axis = next(axis for axis in axes if atom in axis)
                    axis[axis.index(atom) : axis.index(atom) + 1] = parts
                    atom = parts[0]
                    left.insert(0, parts[1])
                group.append(atom)
            groups.append(group)
        if left:
            raise MixedAxesError
        return View(self.source, axes, groups, origin)


def plain(source: str, shape: Sequence[int]) -> View:
    """Return a tensor of the network as a view of itself; ``shape`` begins with the batch's size."""
    axes = [[Atom(size)] if size != 1 else [] for size in shape]
    return View(source, axes, [list(axis) for axis in axes])


@dataclass
class Arranged:
    """A view's tensor with the batch in front, and the way back.

    Attributes:
        tensor: its axes are the batch, then those of the ONNX tensor in order, what was joined with the batch apart.
        axes: axis of the ONNX tensor → axis of ``tensor``; None for one that holds the batch.
        shape: of ``tensor``.
        order: how axes of ``tensor`` make the ONNX tensor: for each of its axes, those it consists of.
    """

    tensor: str
    axes: list[int | None]
    shape: tuple[int, ...]
    order: list[list[int]]

    @property
    def is_plain(self) -> bool:
        """Whether ``tensor`` is the ONNX tensor itself."""
        return self.order == [[axis] for axis in range(len(self.shape))]

    def view_of(self, tensor: str, shape: Sequence[int], origin: tuple[str, str]) -> View:
        """Return the view that arranges ``tensor`` as the ONNX tensor was."""
        found = plain(tensor, shape)
        groups = [[atom for axis in axes for atom in found.axes[axis]] for axes in self.order]
        return found.regrouped(groups, origin)


def batch_in_front(view: View) -> tuple[list[Group], list[int | None], list[list[int]]]:
    """Return the groups of the tensor that `Arranged` describes, and its ``axes`` and ``order``."""
    groups: list[Group] = [[view.batch]]
    axes: list[int | None] = []
    order: list[list[int]] = []
    for group in view.groups:
        if view.batch not in group:
            axes.append(len(groups))
            order.append([len(groups)])
            groups.append(group)
            continue
        at = group.index(view.batch)
        axes.append(None)
        order.append([])
        for part in (group[:at], [view.batch], group[at + 1 :]):
            if part == [view.batch]:
                order[-1].append(0)
            elif part:
                order[-1].append(len(groups))
                groups.append(part)
    return groups, axes, order
