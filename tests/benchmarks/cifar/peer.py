"""Torch-Pruning (github.com/VainF/Torch-Pruning), the peer: its networks, cut by three of its methods and distilled."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.tuning import SandwichSettings

from .data import Array, Convolved, ResNet20

MOMENTUM = 0.1


def cut_inner(network: ResNet20, ratio: float) -> nn.Module:
    """Cut this share of the channels between the two convolutions of each block, by the group's L2 norm.

    Args:
        network: trained; it stays as it is.
        ratio: share that is cut.
    """
    import torch_pruning as tp

    return _cut(network, ratio, tp.importance.MagnitudeImportance(p=2), _streams(network))


def cut_inner_taylor(network: ResNet20, ratio: float, images: Array, labels: NDArray[np.int64]) -> nn.Module:
    """Cut the same channels by the group's first-order Taylor expansion, of the loss on these images."""
    import torch_pruning as tp

    small = copy.deepcopy(network)
    F.cross_entropy(small(torch.from_numpy(images)), torch.from_numpy(labels)).backward()
    return _cut(small, ratio, tp.importance.GroupTaylorImportance(), _streams(small))


def cut_all(network: ResNet20, ratio: float) -> nn.Module:
    """Cut all channels, to multiples of 8; shortcuts are 1 × 1 convolutions, which compute the same.

    Torch-Pruning does not remove channels behind padded shortcuts, and does not see when rounding leaves a narrow layer
    as it is.
    """
    import torch_pruning as tp

    small = Convolved(network).eval()
    return _cut(small, ratio, tp.importance.MagnitudeImportance(p=2), [small.linear], round_to=8)


def _streams(network: ResNet20) -> list[nn.Module]:
    blocks = [block.conv2 for layer in (network.layer1, network.layer2, network.layer3) for block in layer]
    return [network.conv1, network.linear, *blocks]


def _cut(
    network: nn.Module,
    ratio: float,
    importance: Callable[..., object],
    ignored: list[nn.Module],
    round_to: int | None = None,
) -> nn.Module:
    import torch_pruning as tp

    names = {name for name, module in network.named_modules() if any(module is each for each in ignored)}
    small = copy.deepcopy(network)
    for parameter, original in zip(small.parameters(), network.parameters()):
        parameter.grad = original.grad
    pruner = tp.pruner.MagnitudePruner(
        small,
        torch.zeros(1, 3, 32, 32),
        importance=importance,
        pruning_ratio=ratio,
        ignored_layers=[module for name, module in small.named_modules() if name in names],
        round_to=round_to,
    )
    pruner.step()
    small.zero_grad(set_to_none=True)
    return small.eval()


def at_work(cutter: Callable[[float], nn.Module], share: float, full_macs: int, tries: int = 8) -> nn.Module:
    """Return, of the networks that bisection tries, the one whose work is nearest to this share of the full network's.

    Args:
        cutter: from the share of channels that is cut to the network.
        share: of the full network's multiply-accumulates.
        full_macs: of the full network.
        tries: networks that are cut; each takes half a second.
    """
    low, high, found = 0.0, 0.95, []
    for _ in range(tries):
        ratio = (low + high) / 2
        found.append(cutter(ratio))
        low, high = (ratio, high) if macs(found[-1]) > share * full_macs else (low, ratio)
    return min(found, key=lambda network: abs(macs(network) / full_macs - share))


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
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over the batches
    network.train()
    with torch.no_grad():
        network(torch.from_numpy(images))
    network.eval()
    for layer in layers:
        layer.momentum = MOMENTUM


def distil(
    network: nn.Module,
    teacher: nn.Module,
    images: Array,
    labels: NDArray[np.int64],
    calibration: Array,
    settings: SandwichSettings,
) -> nn.Module:
    """Tune a cut network with the loss, optimiser, schedule, clipping, batches and recalibration that Secateur uses.

    Args:
        network: cut; it is changed.
        teacher: the original.
        images: (samples, 3, 32, 32); ``labels``: (samples,).
        calibration: images on which the batch norms are measured in the end, as Secateur does.
        settings: Secateur's.
    """
    network, teacher = (each.to(memory_format=torch.channels_last) for each in (network, teacher.eval()))
    recalibrate(network, calibration)
    network.train()
    torch.manual_seed(settings.seed)
    random = np.random.default_rng(settings.seed)
    norms = [p for m in network.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()]
    others = [p for p in network.parameters() if all(p is not norm for norm in norms)]
    optimiser = torch.optim.SGD(
        [{"params": others, "weight_decay": settings.weight_decay}, {"params": norms, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=True,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    for chosen in _batches(len(images), settings.batch, settings.steps, random):
        x = torch.from_numpy(images[chosen]).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            expected = teacher(x)
        got = network(x)
        loss = _softened(got, expected, settings.temperature) + F.cross_entropy(got, torch.from_numpy(labels[chosen]))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        schedule.step()
    recalibrate(network, calibration)
    return network.eval()


def _softened(got: Tensor, expected: Tensor, temperature: float) -> Tensor:
    student, teacher = F.log_softmax(got / temperature, 1), F.log_softmax(expected / temperature, 1)
    return F.kl_div(student, teacher, log_target=True, reduction="batchmean") * temperature**2


def _batches(count: int, batch: int, steps: int, random: np.random.Generator) -> list[NDArray[np.int64]]:
    found: list[NDArray[np.int64]] = []
    while len(found) < steps:
        order = random.permutation(count)
        found += [order[start : start + batch] for start in range(0, count - batch + 1, batch)]
    return found[:steps]
