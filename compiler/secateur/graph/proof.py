"""Proves groups and blocks numerically, in float64: a wrong tie cannot pass, nor a wrong skip tensor.

A network cut at some keep-counts must compute, at every tensor, what the full network computes when the channels that were
cut are set to zero wherever a weight or a product of two tensors reads them, and when what a dropped block adds is zero.
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
        groups: the channel groups and blocks to prove.
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
        try:
            small = cut(network, groups, keep)
        except KeyError as missing:
            raise ProofError(f"proof: the cut network has no {missing}, which one of its nodes reads") from None
        _check_reads(small)
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
        _check_nothing_is_idle(network, small)
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
    """Return keep-counts to prove with: the full ones (sorting) and random ones, each group between 1 and all.

    If there are blocks, also every second one dropped and then the others: so each is dropped while its neighbours are kept,
    and a skip tensor that is a neighbour's would show.
    """
    rng = np.random.default_rng(seed)
    full = groups.full()
    keeps = [full] + [full | {block.id: 0 for block in groups.blocks[start::2]} for start in (0, 1)[: len(groups.blocks)]]
    for _ in range(count):
        counts = {group.id: int(rng.integers(1, group.size + 1)) for group in groups.groups}
        keeps.append(counts | {block.id: int(rng.integers(0, 2)) for block in groups.blocks})
    return keeps


def _random_feeds(network: Network, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {
        name: random_input(network, name, batch, generator).to(
            torch.float64 if network.dtype(name) == "float32" else getattr(torch, network.dtype(name))
        )
        for name in network.inputs
    }


def _run_masked(network: Network, groups: Groups, keep: Keep, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
    """Run the full network; channels that are cut are zero where a weight or a product reads them, as is a dropped block."""
    silenced = _branches(network, groups, keep)
    readers = {node.inputs[0] for node in network.nodes if "weight" in node.attrs}
    readers |= {name for node in network.nodes if node.op == "MatMul" for name in node.inputs}
    seen: dict[str, Tensor] = {}

    def mask(name: str, value: Tensor) -> Tensor | None:
        seen[name] = value
        if name in silenced:
            return torch.zeros_like(value)
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


def _branches(network: Network, groups: Groups, keep: Keep) -> set[str]:
    """What dropped blocks add: the operands of their sums that come from inside. The skip tensor is not looked at."""
    producers, dropped = network.producers(), groups.dropped(keep)
    blocks = [block for block in groups.blocks if block.id in dropped]
    return {name for block in blocks for name in producers[block.add].inputs if name in block.nodes}


def _check_reads(small: Network) -> None:
    """Every node of a cut network reads what an earlier one writes."""
    known = set(small.inputs)
    for node in small.nodes:
        for name in node.inputs:
            if name not in known:
                raise ProofError(f"proof: the cut network's {node.op} ({node.source}) reads {name}, which is not computed")
        known.add(node.output)
    if known != set(small.shapes) or not known.issuperset(small.outputs):
        raise ProofError("proof: the cut network's tensors are not those that it has shapes of")


def _check_nothing_is_idle(full: Network, small: Network) -> None:
    """What a node of the full network reads, and the cut one still computes, is read there too."""
    before, after = ({name for node in network.nodes for name in node.inputs} for network in (full, small))
    for name in small.shapes:
        if name in before and name not in after:
            raise ProofError(f"proof: the cut network computes {name}, which nothing reads any more")


def _select(value: Tensor, groups: Groups, name: str, keep: Keep) -> Tensor:
    for axis in range(1, value.ndim):
        left = groups.kept((f"tensor:{name}", axis), value.shape[axis], keep)
        value = value.index_select(axis, torch.as_tensor(left))
    return value
