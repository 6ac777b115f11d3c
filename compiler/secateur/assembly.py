"""From keep-counts and private tables to a rung's file, recipe and manifest entry: quantize, export, gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from secateur.bundle.pack import digest
from secateur.evaluation import GateResult, Session, check_rung, golden_check
from secateur.export import Program, child_of, export_fp32, export_int8
from secateur.ir import Groups, Network, QuantizedWeight, Table
from secateur.ir.groups import Keep
from secateur.load import Task
from secateur.pruning import cut
from secateur.quantization import measure_ranges, parameters, quantize_weights, weight_scales
from secateur.search import Plan
from secateur.tuning import Statistics, fold_statistics
from secateur.twin import fixed_values, run
from secateur_agent.bundle.manifest import RungEntry, TensorSpec
from secateur_agent.bundle.recipe import Recipe, encode_recipe

Array = NDArray[np.float32]
Indexes = dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass
class Master:
    """What every rung of every profile is cut from.

    Attributes:
        network: the full network, sorted and tuned; its weights are the base.
        groups: its channel groups.
        scores: group id → importance per channel, in sorted order.
        goals: for each network that was tuned, its keep-counts and the statistics its channels should have.
        calibration: inputs, (samples, …).
    """

    network: Network
    groups: Groups
    scores: dict[str, NDArray[np.float64]]
    goals: list[tuple[dict[str, int], dict[str, Statistics]]]
    calibration: Array
    quantized: dict[str, QuantizedWeight] = field(init=False)

    def __post_init__(self) -> None:
        self.quantized = quantize_weights(self.network.weights)

    def base(self, precision: str) -> dict[str, NDArray[np.generic]]:
        """Return the base tensors of a precision."""
        if precision == "int8":
            return {name: weight.values for name, weight in self.quantized.items()}
        return {name: weight.astype("<f4") for name, weight in self.network.weights.items()}

    def index(self, keep: Keep) -> Indexes:
        """Return weight → kept rows and columns."""
        return {name: self._index(name, weight.shape, keep) for name, weight in self.network.weights.items()}

    def _index(self, name: str, shape: tuple[int, ...], keep: Keep) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        first, second = (self.groups.kept((f"weight:{name}", axis), shape[axis], keep) for axis in (0, 1))
        return first, second

    def rung_network(self, keep: Keep) -> Network:
        """Return the network at these keep-counts with private tables that fit them.

        A network that was tuned has its own statistics; one in between takes those of the next larger tuned one.
        """
        small = cut(self.network, self.groups, keep)
        if dict(keep) == self.goals[0][0] and not self.tuned:
            return small
        larger = [(k, g) for k, g in self.goals if all(k[group] >= count for group, count in keep.items())]
        nearest, goals = min(larger, key=lambda item: sum(item[0].values()))
        tables = {name: self._restrict(name, goal, nearest, keep) for name, goal in goals.items()}
        return small.with_values(tables=fold_statistics(small, tables, self.calibration))

    @property
    def tuned(self) -> bool:
        """Whether the shared weights were tuned, so that even the full network has private statistics of its own."""
        return len(self.goals) > 1

    def _restrict(self, name: str, goal: Statistics, larger: Keep, keep: Keep) -> Table:
        size = self.network.tables[name].scale.size
        chosen = np.isin(self.groups.kept((f"table:{name}", 0), size, larger), self.groups.kept((f"table:{name}", 0), size, keep))
        return Table(goal.deviation[chosen], goal.mean[chosen])


@dataclass
class BuiltRung:
    """A rung that exists as a file.

    Attributes:
        entry: for the manifest.
        recipe: with its own program.
        recipe_file: as shipped, perhaps with a parent.
        data: the model file.
        gate: what the gate found.
        test_value: the metric on the test split, NaN if not read.
    """

    entry: RungEntry
    recipe: Recipe
    recipe_file: bytes
    data: bytes
    gate: GateResult
    test_value: float = float("nan")


@dataclass(frozen=True)
class Judge:
    """What rungs are judged by: the task's validation split, and what the original network gives for it."""

    task: Task
    original: Mapping[str, Array]

    def metric(self, data: bytes, split: str) -> float:
        """Return the metric of a model file on a split."""
        return self.task.metric(Session(data).run(self.task.inputs(split)), split, self.original[split])


def tensor_specs(network: Network) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Return the inputs and outputs of a network for the manifest."""
    inputs = [TensorSpec(name=name, shape=shape) for name, shape in network.inputs.items()]
    outputs = [TensorSpec(name=name, shape=shape) for name, shape in network.outputs.items()]
    return inputs, outputs


def build_rung(
    master: Master, judge: Judge, plan: Plan, number: int, precision: str, base_sha256: str, parent: Recipe | None
) -> BuiltRung:
    """Make one rung.

    Args:
        master: what it is cut from.
        judge: validation data.
        plan: keep-counts and estimates.
        number: the n of ``r<n>-<precision>``.
        precision: ``int8`` or ``fp32``.
        base_sha256: digest of the base file of this precision.
        parent: a recipe with its own program whose program this rung may share.
    """
    network = master.rung_network(plan.keep)
    index, base = master.index(plan.keep), master.base(precision)
    program = _export(master, network, index, precision)
    recipe, data = program.recipe(base)
    child = child_of(recipe, parent, _file_digest(parent)) if parent is not None else None
    recipe_file = encode_recipe(child or recipe)
    validation = judge.task.inputs("validation")
    with torch.no_grad():
        name = next(iter(network.inputs))
        values = fixed_values(network)
        reference = next(iter(run(network, {name: torch.from_numpy(validation[:256])}, values).values())).numpy()
    ordinary = _ordinary(network, master.calibration) if precision == "int8" else None
    gate = check_rung(data, reference, validation[:256], precision, ordinary)
    low, high = (float(f"{np.quantile(master.calibration[:64], q):.3g}") for q in (0.01, 0.99))
    entry = RungEntry(
        id=f"r{number}-{precision}",
        precision="int8" if precision == "int8" else "fp32",
        recipe=digest(recipe_file),
        base=base_sha256,
        file_sha256=digest(data),
        file_bytes=len(data),
        keep=dict(plan.keep),
        macs=plan.macs,
        params=plan.params,
        metric_value=round(judge.metric(data, "validation"), 6),
        latency_ms=_short(plan.latency_ms),
        latency_source="roofline",
        memory_mb=_short(plan.memory_mb),
        energy_mj=_short(plan.energy_mj),
        golden=golden_check(data, tensor_specs(network)[0], number, low, high, precision),
    )
    return BuiltRung(entry, recipe, recipe_file, data, gate)


def _export(master: Master, network: Network, index: Indexes, precision: str) -> Program:
    if precision != "int8":
        return export_fp32(network, master.network.weights, index)
    activations = parameters(network, measure_ranges(network, master.calibration))
    scales = weight_scales(network, master.quantized, {name: rows for name, (rows, _) in index.items()}, activations)
    return export_int8(network, master.quantized, index, activations, scales)


def _ordinary(network: Network, calibration: Array) -> bytes:
    """The same rung, quantized by itself: what sharing the base is compared with."""
    own = quantize_weights(network.weights)
    index = {n: (np.arange(w.shape[0]), np.arange(w.shape[1])) for n, w in network.weights.items()}
    activations = parameters(network, measure_ranges(network, calibration))
    scales = weight_scales(network, own, {name: rows for name, (rows, _) in index.items()}, activations)
    program = export_int8(network, own, index, activations, scales)
    return program.recipe({name: weight.values for name, weight in own.items()})[1]


def _file_digest(recipe: Recipe) -> bytes:
    return bytes.fromhex(digest(encode_recipe(recipe)))


def _short(value: float) -> float:
    return float(f"{value:.5g}")
