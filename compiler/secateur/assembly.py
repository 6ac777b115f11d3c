"""From keep-counts and private tables to a rung's file, recipe and manifest entry: quantize, export, gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, cast

import numpy as np

from secateur.bundle.pack import digest, encode_base
from secateur.evaluation import GateResult, Session, check_rung, golden_check
from secateur.export import child_of
from secateur.fitting import Shortfall, fit_rung, shortfall
from secateur.ir import PRECISIONS, Budget, InfeasibleError, Network, Samples, arrays_of, take
from secateur.load import Task
from secateur.master import Array, Master
from secateur.quantizing import QuantizedRung, quantize_rung
from secateur.search import Estimator, Plan
from secateur.twin import outputs_of
from secateur.writing import file_of, program_of
from secateur_agent.bundle.manifest import Precision, RungEntry, TensorSpec
from secateur_agent.bundle.recipe import Recipe, encode_recipe
from secateur_agent.protocol.messages import RungMeasurement

_DATATYPES: dict[str, Literal["FP32", "INT32", "INT64", "BOOL"]] = {
    "float32": "FP32",
    "int32": "INT32",
    "int64": "INT64",
    "bool": "BOOL",
}


COMPARED = 256
"""Validation samples on which outputs of files are compared; the metric is of all."""


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
        measured_ms: latency of the file on this machine, NaN if it was not timed.
        calibrators: those that were tried → distance of the outputs from the float rung's; the least was taken.
        inherits: whether it is shipped with the program of another recipe, and not with its own.
    """

    entry: RungEntry
    recipe: Recipe
    recipe_file: bytes
    data: bytes
    gate: GateResult
    test_value: float = float("nan")
    measured_ms: float = float("nan")
    inherits: bool = False
    calibrators: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Judge:
    """What rungs are judged by: the task's validation split, and what the original network gives for it."""

    task: Task
    original: Mapping[str, Samples]

    def compared(self) -> Samples:
        """Return the validation inputs on which outputs of files are compared."""
        return take(self.task.inputs("validation"), slice(0, COMPARED))

    def twin_metric(self, network: Network) -> float:
        """Return the metric of a network, run in torch, on the validation split."""
        found = outputs_of(network, self.task.inputs("validation"))
        return self.task.metric(found, "validation", self.original["validation"])

    def metric(self, data: bytes, split: str) -> float:
        """Return the metric of a model file on a split."""
        return self.task.metric(Session(data).outputs(self.task.inputs(split)), split, self.original[split])


def tensor_specs(network: Network) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Return the inputs and outputs of a network for the manifest."""

    def specs(tensors: Mapping[str, tuple[int, ...]]) -> list[TensorSpec]:
        return [
            TensorSpec(name=name, datatype=_DATATYPES[network.dtype(name)], shape=shape) for name, shape in tensors.items()
        ]

    return specs(network.inputs), specs(network.outputs)


def build_rung(
    master: Master,
    judge: Judge,
    plan: Plan,
    number: int,
    precision: str,
    base_sha256: str,
    parent: Recipe | None,
    runtime: str,
    made: QuantizedRung | None = None,
) -> BuiltRung:
    """Make one rung.

    Args:
        master: what it is cut from.
        judge: validation data.
        plan: keep-counts and estimates.
        number: the n of ``r<n>-<precision>``.
        precision: of its file.
        base_sha256: digest of the base file of this precision.
        parent: a recipe with its own program whose program this rung may share.
        runtime: that reads the file.
        made: the rung as it is to be written, if that is known.
    """
    network = master.rung_network(plan.keep)
    index, base = master.index(plan.keep), master.base(precision)
    kind = PRECISIONS[precision]
    validation = judge.compared()
    made = made or quantize_rung(master, network, index, precision, validation, runtime)
    program = program_of(master, made.network, index, precision, made.ranges, runtime)
    recipe, data = program.recipe(base)
    child = child_of(recipe, parent, _file_digest(parent)) if parent is not None else None
    recipe_file = encode_recipe(child or recipe)
    reference = outputs_of(network, validation)
    ordinary = (
        file_of(network, master.calibration, precision, made.ranges, runtime, master.floating) if kind.integer else None
    )
    gate = check_rung(data, reference, validation, ordinary)
    # A block that is not named is kept: a device that waits for a new rung should not wait for that.
    blocks = {block.id for block in master.groups.blocks}
    bounds = [_input_range(array[:64]) for array in arrays_of(master.calibration)]
    entry = RungEntry(
        id=f"r{number}-{precision}",
        precision=cast(Precision, precision),
        recipe=digest(recipe_file),
        base=base_sha256,
        file_sha256=digest(data),
        file_bytes=len(data),
        keep={key: count for key, count in plan.keep.items() if key not in blocks or not count},
        macs=plan.macs,
        params=plan.params,
        metric_value=round(judge.metric(data, "validation"), 6),
        latency_ms=_short(plan.latency_ms),
        latency_source=plan.latency_source,
        memory_mb=_short(plan.memory_mb),
        energy_mj=_short(plan.energy_mj),
        golden=golden_check(
            data, tensor_specs(network)[0], number, *bounds[0], kind.tolerance, bounds if len(bounds) > 1 else ()
        ),
    )
    return BuiltRung(entry, recipe, recipe_file, data, gate, inherits=child is not None, calibrators=dict(made.tried))


def _input_range(inputs: Array) -> tuple[float, float]:
    """The values between which golden inputs lie: those of most of the data, or of all if most of it is one value."""
    if np.issubdtype(inputs.dtype, np.integer):
        return float(inputs.min()), float(inputs.max())
    low, high = (float(f"{np.quantile(inputs, q):.3g}") for q in (0.01, 0.99))
    if low == high:
        low, high = float(f"{inputs.min():.3g}"), float(f"{inputs.max():.3g}")
    return (low, high) if low < high else (low - 1, high + 1)


def _file_digest(recipe: Recipe) -> bytes:
    return bytes.fromhex(digest(encode_recipe(recipe)))


def _short(value: float) -> float:
    return float(f"{value:.5g}")


@dataclass
class Ladder:
    """The rungs of one profile and the base file.

    Attributes:
        rungs: that are shipped, largest first.
        dropped: rung id → why it is not shipped.
        base: file of the shared tensors.
        moved: rung id → why it is not the network that was planned.
    """

    rungs: list[BuiltRung]
    dropped: dict[str, str]
    base: bytes
    moved: dict[str, str] = field(default_factory=dict)


def build_ladder(
    master: Master,
    judge: Judge,
    plans: list[Plan],
    path: Sequence[Plan],
    target: Estimator,
    budget: Budget,
    on_rung: Callable[[int], None],
    measure: Callable[[BuiltRung], RungMeasurement] | None = None,
    largest: QuantizedRung | None = None,
) -> Ladder:
    """Build every planned rung of one profile; where one misses a budget, the nearest point of the path that does not.

    Args:
        master: what they are cut from.
        judge: validation data.
        plans: largest first; the first is the original.
        path: all points that rungs may be moved to, by falling latency.
        target: profile and precision.
        budget: what every rung but the original must meet, as it was built.
        on_rung: told the number of each rung before it is built.
        measure: measures a rung on this machine; None if the profile is of another.
        largest: the original as it is to be written, if that is known.

    Raises:
        InfeasibleError: if no rung below the original may be shipped.
    """
    base = encode_base(master.base(target.precision))
    base_sha256 = digest(base)
    # Rungs with the same blocks share a program: the first of them carries it.
    parents: dict[tuple[str, ...], Recipe] = {}
    found = Ladder([], {}, base)
    original = judge.task.metric(judge.original["validation"], "validation", judge.original["validation"])
    above, accurate = plans[0], True
    for number, plan in enumerate(plans):
        on_rung(number)

        def build(plan: Plan, number: int = number) -> BuiltRung:
            parent = parents.get(master.groups.dropped(plan.keep))
            runtime = target.profile.runtime.name
            made = None if number else largest
            return build_rung(master, judge, plan, number, target.precision, base_sha256, parent, runtime, made)

        def check(rung: BuiltRung, bound: bool = number > 0) -> Shortfall | None:
            if rung.gate.reason:
                return Shortfall(rung.gate.reason, None)
            if not bound:
                return None
            return shortfall(rung.entry, budget, original, partial(measure, rung) if measure else None)

        below = plans[number + 1].latency_ms if number + 1 < len(plans) else 0.0
        larger = [p for p in path if accurate and plan.latency_ms < p.latency_ms < above.latency_ms]
        smaller = [p for p in path if number and below < p.latency_ms < plan.latency_ms]
        fitted = fit_rung(plan, larger, smaller, build, check)
        rung = fitted.rung
        if fitted.missed:
            found.dropped[rung.entry.id] = fitted.missed.reason
        else:
            rung.test_value = judge.metric(rung.data, "test")
            found.rungs.append(rung)
            parents.setdefault(master.groups.dropped(fitted.plan.keep), rung.recipe)
            above = fitted.plan
            if fitted.moved:
                moved = f"moved from {plan.latency_ms:.3g} to {above.latency_ms:.3g} ms"
                found.moved[rung.entry.id] = f"{fitted.moved.reason}; {moved}"
        accurate = accurate and not fitted.smaller_are_worse
    if not found.rungs or (len(plans) > 1 and len(found.rungs) < 2):
        nearest = "; ".join(f"{rung}: {reason}" for rung, reason in found.dropped.items())
        raise InfeasibleError(f"infeasible for {target.profile.name}: no smaller rung may be shipped ({nearest})")
    return found
