"""The workspace: what the host keeps of a compilation, so that a rung can be cut again later without compiling anew."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from secateur.assembly import Judge
from secateur.graph import find_groups
from secateur.ir import Network, Node, Samples, SecateurError, Table, arrays_of, samples_of
from secateur.load import Task
from secateur.load.task import SPLITS, task_object
from secateur.master import Master
from secateur.programs import Parent
from secateur.search import Step
from secateur.search.estimator import Source
from secateur.tuning import Statistics
from secateur_profiles import Profile


class StoredNode(msgspec.Struct):
    """A `Node`."""

    op: str
    inputs: list[str]
    output: str
    attrs: dict[str, Any]
    source: str


class ProfileState(msgspec.Struct):
    """What belongs to one device profile.

    Attributes:
        bundle: digest of the bundle's manifest.json.
        path: keep-counts and planned latency from the full network down.
        rungs: rung id → planned latency.
        parents: the recipes whose program rungs share: one for each precision and set of dropped blocks of the bundle.
        bases: precision → digest of the base file.
        next_number: of the next rung; never reused.
        device: the profile itself: its file may be elsewhere, or changed, when a rung is cut.
        latency_source: what the path's latencies come from.
        floating: weights of layers that stay float in its bases of integers.
    """

    bundle: str
    path: list[tuple[dict[str, int], float]]
    rungs: dict[str, float]
    parents: list[Parent]
    bases: dict[str, str]
    next_number: int
    device: Profile
    latency_source: Source = "roofline"
    floating: list[str] = []


class State(msgspec.Struct):
    """Everything that is not an array."""

    v: int
    name: str
    nodes: list[StoredNode]
    inputs: dict[str, list[int]]
    outputs: dict[str, list[int]]
    shapes: dict[str, list[int]]
    goals: list[dict[str, int]]
    metric_name: str
    task: str
    profiles: dict[str, ProfileState]
    dtypes: dict[str, str] = {}


class StoredTask:
    """The splits that re-cutting needs, as a task."""

    def __init__(
        self, arrays: Mapping[str, NDArray[Any]], metric_name: str, metric: Any = None, all_outputs: bool = False
    ) -> None:
        self._arrays = arrays
        self.metric_name = metric_name
        self.all_outputs = all_outputs
        if metric is not None:
            self.metric = metric

    def batches(self, split: str) -> list[tuple[Samples, NDArray[Any] | None]]:
        """Return the split; training and test data are not kept, validation stands in."""
        name = split if f"x:{split}" in self._arrays else "validation"
        return [(_collected(self._arrays, f"x:{name}"), self._arrays.get(f"y:{name}"))]


def save_workspace(folder: Path, name: str, master: Master, judge: Judge, profiles: Mapping[str, ProfileState]) -> None:
    """Write a workspace; ``state.json`` last, so that an interrupted write is noticed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state.json").unlink(missing_ok=True)
    network = master.network
    arrays: dict[str, NDArray[Any]] = {f"weight:{k}": v for k, v in network.weights.items()}
    for key, table in network.tables.items():
        arrays |= {f"scale:{key}": table.scale, f"shift:{key}": table.shift}
    for number, (_, goals) in enumerate(master.goals):
        for key, goal in goals.items():
            arrays |= {f"mean:{number}:{key}": goal.mean, f"deviation:{number}:{key}": goal.deviation}
    arrays |= {f"score:{key}": value for key, value in master.scores.items()}
    arrays |= _numbered("x:calibration", master.calibration)
    arrays |= _numbered("x:validation", judge.task.inputs("validation"))
    labels = judge.task.targets("validation")
    if labels is not None:
        arrays["y:validation"] = labels
        calibration = judge.task.targets("calibration")
        arrays["y:calibration"] = calibration if calibration is not None else labels
    arrays |= _numbered("original:validation", judge.original["validation"])
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / "arrays.safetensors")
    state = State(
        v=1,
        name=name,
        nodes=[StoredNode(n.op, list(n.inputs), n.output, dict(n.attrs), n.source) for n in network.nodes],
        inputs={k: list(v) for k, v in network.inputs.items()},
        outputs={k: list(v) for k, v in network.outputs.items()},
        shapes={k: list(v) for k, v in network.shapes.items()},
        dtypes=dict(network.dtypes),
        goals=[dict(keep) for keep, _ in master.goals],
        metric_name=judge.task.metric_name,
        task=judge.task.spec,
        profiles=dict(profiles),
    )
    write_state(folder, state)


def _numbered(name: str, samples: Samples) -> dict[str, NDArray[Any]]:
    """Arrays to store: the first under the name itself, those of other inputs or outputs under it with their number."""
    return {f"{name}:{number}" if number else name: array for number, array in enumerate(arrays_of(samples))}


def _collected(arrays: Mapping[str, NDArray[Any]], name: str) -> Samples:
    found = [arrays[name]]
    while f"{name}:{len(found)}" in arrays:
        found.append(arrays[f"{name}:{len(found)}"])
    return samples_of(found)


def write_state(folder: Path, state: State) -> None:
    """Replace ``state.json`` in one step."""
    draft = folder / ".state.json.draft"
    draft.write_bytes(msgspec.json.encode(state))
    os.replace(draft, folder / "state.json")


def read_file(folder: Path, name: str) -> bytes:
    """Return a file of the workspace.

    Raises:
        SecateurError: if it is not there.
    """
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise SecateurError(f"workspace {folder}: {name}: {error.strerror}; 'secateur compile' makes one") from None


def read_state(folder: Path) -> State:
    """Read ``state.json``.

    Raises:
        SecateurError: if there is no workspace or it is damaged.
    """
    try:
        return msgspec.json.decode(read_file(folder, "state.json"), type=State)
    except msgspec.MsgspecError as error:
        raise SecateurError(f"workspace {folder}: state.json is damaged ({error}); compile again") from None


def load_workspace(folder: Path) -> tuple[State, Master, Judge]:
    """Read a workspace.

    Raises:
        SecateurError: if there is none or it is damaged.
    """
    state = read_state(folder)
    try:
        arrays = load_file(folder / "arrays.safetensors")
    except (OSError, SafetensorError) as error:
        raise SecateurError(f"workspace {folder}: arrays.safetensors cannot be read ({error}); compile again") from None

    def part(prefix: str) -> dict[str, NDArray[Any]]:
        return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

    scales, shifts = part("scale:"), part("shift:")
    network = Network(
        inputs={k: tuple(v) for k, v in state.inputs.items()},
        outputs={k: tuple(v) for k, v in state.outputs.items()},
        nodes=[Node(n.op, tuple(n.inputs), n.output, _tuples(n.attrs), n.source) for n in state.nodes],
        weights=part("weight:"),
        tables={k: Table(scales[k], shifts[k]) for k in scales},
        shapes={k: tuple(v) for k, v in state.shapes.items()},
        dtypes=state.dtypes,
    )
    goals = []
    for number, keep in enumerate(state.goals):
        means, deviations = part(f"mean:{number}:"), part(f"deviation:{number}:")
        goals.append((keep, {k: Statistics(means[k], deviations[k]) for k in means}))
    master = Master(network, find_groups(network), part("score:"), goals, _collected(arrays, "x:calibration"))
    own = state.task.endswith(".npz") or ":" not in state.task
    metric = None if own else getattr(task_object(state.task), "metric", None)
    all_outputs = metric is not None and bool(getattr(task_object(state.task), "all_outputs", False))
    task = Task(StoredTask(arrays, state.metric_name, metric, all_outputs), state.task)
    task.fit({name: (shape[1:], network.dtype(name)) for name, shape in network.inputs.items()})
    original = dict.fromkeys(SPLITS, _collected(arrays, "original:validation"))
    return state, master, Judge(task, original)


def _tuples(attrs: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in attrs.items()}


def steps_of(profile: ProfileState) -> list[Step]:
    """Return the stored path of a profile."""
    return [Step(keep, latency_ms) for keep, latency_ms in profile.path]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the workspace's lock, so that two processes never hand out the same rung number.

    Raises:
        SecateurError: if there is no workspace.
    """
    try:
        file = open(folder / ".lock", "w")  # noqa: SIM115 - closed below
    except OSError as error:
        raise SecateurError(f"workspace {folder}: {error.strerror}; 'secateur compile' makes one") from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def checked_name(name: str) -> str:
    """Return a model name that can be a folder and an MQTT payload.

    Raises:
        SecateurError: if it cannot.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise SecateurError(f"name {name!r}: use letters, digits, '.', '_' or '-' (give one with --name)")
    return name
