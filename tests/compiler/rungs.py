"""Rungs of the test topologies as files, made by the very steps of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tests.compiler.networks import MAKERS, network_of, samples

from secateur.bundle.pack import digest
from secateur.criteria import Evidence, score
from secateur.export import Program, child_of
from secateur.graph import find_groups
from secateur.ir import Network
from secateur.master import Master
from secateur.pruning import sort_groups
from secateur.tuning import measure_statistics
from secateur.twin import fixed_values, run
from secateur.writing import program_of
from secateur_agent.bundle.recipe import Recipe, encode_recipe


@dataclass
class MadeRung:
    """A rung of a master: its network, keep-counts, program, recipe and file."""

    keep: dict[str, int]
    network: Network
    program: Program
    recipe: Recipe
    data: bytes

    def child(self, parent: MadeRung) -> Recipe | None:
        """Return the recipe with the program of ``parent``."""
        return child_of(self.recipe, parent.recipe, bytes.fromhex(digest(encode_recipe(parent.recipe))))


def master_of(name: str, folded: bool = False) -> Master:
    """Return the master of a topology, sorted and not tuned."""
    return master_for(network_of(name, folded), samples(MAKERS[name][1], 128))


def master_for(network: Network, calibration: NDArray[np.float32]) -> Master:
    """Return the master of a network, sorted and not tuned."""
    groups = find_groups(network)
    scores = score("magnitude-l2", Evidence(network, groups))
    network = sort_groups(network, groups, scores)
    statistics = measure_statistics(network, calibration)
    return Master(network, groups, scores, [(groups.full(), statistics)], calibration)


def rung_of(
    master: Master, share: float, precision: str, dropped: tuple[str, ...] = (), runtime: str = "onnxruntime"
) -> MadeRung:
    """Cut a rung that keeps this share of every group and does without some blocks."""
    keep = {group.id: max(1, round(share * group.size)) for group in master.groups.groups}
    keep |= {block.id: int(block.id not in dropped) for block in master.groups.blocks}
    network = master.rung_network(keep)
    program = program_of(master, network, master.index(keep), precision, runtime=runtime)
    recipe, data = program.recipe(master.base(precision))
    return MadeRung(keep, network, program, recipe, data)


def twin_outputs(network: Network, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the rung computes in torch."""
    with torch.no_grad():
        feeds = {next(iter(network.inputs)): torch.from_numpy(inputs)}
        return next(iter(run(network, feeds, fixed_values(network)).values())).numpy()
