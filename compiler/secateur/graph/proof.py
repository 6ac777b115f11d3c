"""Proves groups numerically, in float64: a wrong tie cannot pass.

A network cut at some keep-counts must compute, at every tensor, what the full network computes when the channels that were
cut are set to zero wherever a weight or a product of two tensors reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from secateur.ir import Groups, Network, SecateurError
from secateur.ir.groups import Keep
from secateur.twin import fixed_values, random_input, run

TOLERANCE = 1e-9
"""Largest relative error that rounding in float64 may cause."""


class ProofError(SecateurError):
    """Cutting these channels does not leave what it should; a rule ties the wrong elements."""


def prove(
    network: Network,
    groups: Groups,
    cut: Callable[[Network, Groups, Keep], Network],
    keeps: Sequence[Keep],
    seed: int = 0,
    batch: int = 2,
) -> float:
    """Compare cut networks with masked ones at every tensor.

    Args:
        network: the full network.
        groups: the channel groups to prove.
        cut: how a network is cut (`secateur.pruning.cut`).
        keeps: keep-counts to try, with several random inputs each.
        seed: of the random inputs.
        batch: inputs at once.

    Returns:
        The largest relative error found.

    Raises:
        ProofError: names the first tensor that differs.
    """
    generator = torch.Generator().manual_seed(seed)
    worst = 0.0
    for keep in keeps:
        feeds = _random_feeds(network, batch, generator)
        masked = _run_masked(network, groups, keep, feeds)
        small = cut(network, groups, keep)
        try:
            tensors = run(small, feeds, fixed_values(small, torch.float64), wanted=small.shapes)
        except RuntimeError as failure:
            raise ProofError(f"proof: the cut network does not run: {str(failure).splitlines()[0]}") from None
        for name, value in tensors.items():
            expected, value = _select(masked[name], groups, name, keep).double(), value.double()
            if expected.shape != value.shape:
                raise ProofError(f"proof: tensor {name} has shape {tuple(value.shape)}, not {tuple(expected.shape)}")
            error = float((value - expected).abs().max() / expected.abs().max().clamp_min(1e-30)) if value.numel() else 0.0
            if not error <= TOLERANCE:
                raise ProofError(f"proof: tensor {name} differs from the masked network by {error:.1e} (relative)")
            worst = max(worst, error)
    return worst


def prove_sorted(network: Network, ordered: Network, seed: int = 0, batch: int = 2) -> float:
    """Prove that sorting did not change the function: channels of a group may change places only together.

    Args:
        network: before.
        ordered: after.
        seed: of the random inputs.
        batch: inputs at once.

    Returns:
        The largest relative error of an output.

    Raises:
        ProofError: names the output that differs.
    """
    generator = torch.Generator().manual_seed(seed)
    feeds = _random_feeds(network, batch, generator)
    before, after = (run(each, feeds, fixed_values(each, torch.float64)) for each in (network, ordered))
    worst = 0.0
    for name, expected in before.items():
        expected = expected.double()
        error = float((after[name].double() - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
        if not error <= TOLERANCE:
            raise ProofError(f"proof: sorting changes output {name} by {error:.1e} (relative)")
        worst = max(worst, error)
    return worst


def random_keeps(groups: Groups, count: int, seed: int = 0) -> list[dict[str, int]]:
    """Return keep-counts to prove with: the full ones (sorting) and random ones, each group between 1 and all."""
    rng = np.random.default_rng(seed)
    return [groups.full()] + [{g.id: int(rng.integers(1, g.size + 1)) for g in groups.groups} for _ in range(count)]


def _random_feeds(network: Network, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {
        name: random_input(network, name, batch, generator).to(
            torch.float64 if network.dtype(name) == "float32" else getattr(torch, network.dtype(name))
        )
        for name in network.inputs
    }


def _run_masked(network: Network, groups: Groups, keep: Keep, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
    """Run the full network; where a weight or a product reads a tensor, channels that are cut are zero."""
    readers = {node.inputs[0] for node in network.nodes if "weight" in node.attrs}
    readers |= {name for node in network.nodes if node.op == "MatMul" for name in node.inputs}
    seen: dict[str, Tensor] = {}

    def mask(name: str, value: Tensor) -> Tensor | None:
        seen[name] = value
        if name not in readers:
            return None
        result = value.clone()
        for axis in range(1, value.ndim):
            left = groups.kept((f"tensor:{name}", axis), value.shape[axis], keep)
            gone = np.setdiff1d(np.arange(value.shape[axis]), left)
            result.index_fill_(axis, torch.as_tensor(gone), 0.0)
        return result

    run(network, feeds, fixed_values(network, torch.float64), on_tensor=mask)
    return seen


def _select(value: Tensor, groups: Groups, name: str, keep: Keep) -> Tensor:
    for axis in range(1, value.ndim):
        left = groups.kept((f"tensor:{name}", axis), value.shape[axis], keep)
        value = value.index_select(axis, torch.as_tensor(left))
    return value
