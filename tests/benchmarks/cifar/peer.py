"""Torch-Pruning (github.com/VainF/Torch-Pruning), the peer: cuts the inner channels of every residual block."""

from __future__ import annotations

import copy

import torch
from torch import nn

from .data import Array, ResNet20


def cut_inner(network: ResNet20, ratio: float) -> nn.Module:
    """Cut this share of the channels between the two convolutions of each block, by the group's L2 norm.

    Args:
        network: trained; it stays as it is.
        ratio: share that is cut.
    """
    import torch_pruning as tp

    small = copy.deepcopy(network)
    streams = [small.conv1, small.linear]
    streams += [block.conv2 for layer in (small.layer1, small.layer2, small.layer3) for block in layer]
    example = torch.zeros(1, 3, 32, 32)
    pruner = tp.pruner.MagnitudePruner(
        small, example, importance=tp.importance.MagnitudeImportance(p=2), pruning_ratio=ratio, ignored_layers=streams
    )
    pruner.step()
    return small.eval()


def macs(network: nn.Module) -> int:
    """Return the multiply-accumulates of convolutions and fully connected layers for one image."""
    total = 0

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        weight = layer.get_parameter("weight")
        total += weight.numel() * (output[0, 0].numel() if output.ndim == 4 else 1)

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        network(torch.zeros(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    return total


def recalibrate(network: nn.Module, images: Array) -> None:
    """Measure the statistics of every batch norm anew, on unlabelled images."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over the batches
    network.train()
    with torch.no_grad():
        network(torch.from_numpy(images))
    network.eval()
