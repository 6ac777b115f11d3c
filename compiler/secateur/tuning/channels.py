"""Channels of groups in torch: masks on tensors, and the parameters that belong to each channel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Groups, Network
from secateur.twin.execute import channel_view


class ChannelMasks:
    """Silences channels while the full network runs: where what reads them would no longer see them in a cut network."""

    def __init__(self, network: Network, groups: Groups, regrow: bool) -> None:
        """Begin with every channel.

        Args:
            network: the full network.
            groups: its channel groups.
            regrow: gradients pass masks as if they were not there (a straight-through estimator).
        """
        self._regrow = regrow
        self._masks: dict[str, list[tuple[int, Tensor]]] = {}
        self._places: list[tuple[str, int, int, str, NDArray[np.int64]]] = []
        readers = network.consumers()
        for group in groups.groups:
            inside = {axis[0] for axis in group.members}
            for (name, axis), members in group.members.items():
                tensor = name.removeprefix("tensor:")
                if name.startswith("tensor:") and any(f"tensor:{n.output}" not in inside for n in readers.get(tensor, [])):
                    self._places.append((tensor, axis, network.shapes[tensor][axis], group.id, members))

    def set(self, alive: Mapping[str, NDArray[np.bool_]]) -> None:
        """Choose what remains: group id → whether each channel does."""
        self._masks = {}
        for tensor, axis, size, group, members in self._places:
            mask = torch.ones(size)
            mask[torch.from_numpy(members[~np.asarray(alive[group])].ravel())] = 0
            self._masks.setdefault(tensor, []).append((axis, mask))

    def on_tensor(self, name: str, value: Tensor) -> Tensor | None:
        """Mask a tensor; to be given to `secateur.twin.run`."""
        if name not in self._masks:
            return None
        masked = value
        for axis, mask in self._masks[name]:
            masked = masked * channel_view(mask, axis, value.ndim)
        return value + (masked - value).detach() if self._regrow else masked


class ChannelParameters:
    """Which parameters belong to which channel: filters that make it, weights that read it, scales on its way."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    def squares(self, weights: Mapping[str, Tensor], scales: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sum of squares of the parameters of each channel.

        Args:
            weights: weight → (out, in, kernel…).
            scales: table → (channels,).

        Returns:
            Group id → (channels,).
        """
        found = {}
        for group in self._groups.groups:
            total = torch.zeros(group.size)
            for (name, axis), members in group.members.items():
                kind, _, key = name.partition(":")
                index = torch.from_numpy(members)
                if kind == "weight" and key in weights:
                    value = weights[key]
                    others = [other for other in range(value.ndim) if other != axis]
                    total = total + value.square().sum(others)[index].sum(1)
                elif kind == "table" and key in scales:
                    total = total + scales[key].square()[index].sum(1)
            found[group.id] = total
        return found

    def counts(self, weights: Mapping[str, Tensor], scales: Mapping[str, Tensor]) -> dict[str, int]:
        """Return how many parameters each channel of a group has."""
        found = {}
        for group in self._groups.groups:
            count = 0
            for (name, axis), members in group.members.items():
                kind, _, key = name.partition(":")
                if kind == "weight" and key in weights:
                    count += members.shape[1] * (weights[key].numel() // weights[key].shape[axis])
                elif kind == "table" and key in scales:
                    count += members.shape[1]
            found[group.id] = max(count, 1)
        return found
