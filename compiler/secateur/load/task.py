"""Tasks: the data that a network is compiled with, and what counts as good.

A task is ``module:object`` with ``batches(split)``, one finite, repeatable pass of ``(inputs, targets or None)`` as numpy
for the splits ``train``, ``calibration``, ``validation`` and ``test``; the inputs of a network with several are a dict by
name, or a tuple. Optionally it has ``loss(outputs, targets)`` in torch and
``metric(outputs, targets)`` in numpy over a whole split, 0 to 1, higher is better. Or it is a ``.npz`` file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from secateur.ir import Samples, SecateurError, arrays_of, samples_of
from secateur.load.objects import load_object

Array = NDArray[Any]
SPLITS = ("train", "calibration", "validation", "test")


class UserTask(Protocol):
    """What a user's task object must have; ``loss`` and ``metric`` may be missing."""

    def batches(self, split: str) -> Iterable[tuple[Any, Array | None]]:
        """Return one pass over a split."""


class Task:
    """A task, its splits read into memory and checked.

    Attributes:
        spec: what named it.
        labelled: whether every split has targets. If not, the metric is agreement with the original network.
        metric_name: what `metric` computes.
    """

    def __init__(self, source: UserTask, what: str) -> None:
        """Read every split. Its inputs are an array, or of a network with several a dict by their names or a tuple.

        Raises:
            SecateurError: if a split is empty, holds NaN, or its shapes disagree.
        """
        self.spec = what
        self._splits = {split: _read_split(source, split, what) for split in SPLITS}
        shapes = {split: {k: x.shape[1:] for k, x in inputs.items()} for split, (inputs, _) in self._splits.items()}
        if any(shape != shapes["train"] for shape in shapes.values()):
            raise SecateurError(f"task {what}: the splits disagree on the shape of an input: {_readable(shapes)}")
        self._dtypes: list[str] = []
        self.labelled = all(targets is not None for _, targets in self._splits.values())
        own = getattr(source, "metric", None)
        self._metric: Callable[[Any, Array], float] = own if callable(own) else accuracy
        self._all_outputs = callable(own) and bool(getattr(source, "all_outputs", False))
        self.metric_name = (
            "agreement" if not self.labelled else getattr(source, "metric_name", "metric" if own else "accuracy")
        )
        loss = getattr(source, "loss", None)
        self.loss: Callable[[Any, Any], Any] | None = loss if callable(loss) and self.labelled else None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch."""
        return next(iter(self.examples.values()))[0]

    @property
    def examples(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Name of each input (a number if the task gives none) → its shape without the batch, its element type."""
        inputs = self._splits["train"][0]
        return {name: (tuple(x.shape[1:]), _element_type(x)) for name, x in inputs.items()}

    def fit(self, wanted: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
        """Put the inputs into the order and the element types that a network takes.

        Args:
            wanted: its inputs → shape without the batch, element type.

        Raises:
            SecateurError: if they are not what the network takes.
        """
        mine = self.examples
        by_name = set(mine) == set(wanted)
        if not by_name and (len(mine) != len(wanted) or (not all(name.isdigit() for name in mine) and len(mine) > 1)):
            raise SecateurError(f"task {self.spec}: it has the inputs {', '.join(mine)}, but the model {', '.join(wanted)}")
        names = list(wanted) if by_name else list(mine)
        for name, (shape, _) in zip(names, wanted.values()):
            if mine[name][0] != shape:
                raise SecateurError(f"task {self.spec}: an input has shape {mine[name][0]}, but the model takes {shape}")
        self._dtypes = [dtype for _, dtype in wanted.values()]
        self._splits = {
            split: ({name: _cast(x[name], dtype) for name, dtype in zip(names, self._dtypes)}, y)
            for split, (x, y) in self._splits.items()
        }

    def inputs(self, split: str) -> Samples:
        """Return all inputs of a split, (samples, …): float32 unless `fit` says otherwise."""
        found = self._splits[split][0]
        return samples_of([_cast(x, dtype) for x, dtype in zip(found.values(), self._dtypes or ["float32"] * len(found))])

    def targets(self, split: str) -> Array | None:
        """Return all targets of a split, or None."""
        return self._splits[split][1] if self.labelled else None

    def metric(self, outputs: Samples, split: str, reference: Samples) -> float:
        """Return how good ``outputs`` are: the task's metric, or without labels the agreement with ``reference``.

        Of several outputs the first counts, unless the task has ``all_outputs``: then its metric gets them all as a tuple.

        Args:
            outputs: of the network in question, all samples of the split.
            split: which split.
            reference: outputs of the original network.
        """
        targets, first = self.targets(split), arrays_of(outputs)[0]
        if targets is None:
            return agreement(first, arrays_of(reference)[0])
        return float(self._metric(arrays_of(outputs) if self._all_outputs else first, targets))


def accuracy(outputs: Array, targets: Array) -> float:
    """Share of samples whose largest output is at the target's index."""
    return float((outputs.reshape(len(outputs), -1).argmax(1) == np.asarray(targets).ravel()).mean())


def agreement(outputs: Array, reference: Array) -> float:
    """Share of samples for which both networks have their largest output at the same index."""
    return accuracy(outputs, reference.reshape(len(reference), -1).argmax(1))


def _element_type(array: Array) -> str:
    return array.dtype.name if array.dtype in (np.int32, np.int64) else "float32"


def _cast(array: Array, dtype: str) -> Array:
    return array if array.dtype == dtype else array.astype(dtype)


def _readable(shapes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {split: next(iter(named.values())) if len(named) == 1 else named for split, named in shapes.items()}


def _named(inputs: Any) -> dict[str, Array]:
    """Inputs of one batch by name: integers stay what they are, anything else becomes float32."""
    named = inputs if isinstance(inputs, Mapping) else dict(enumerate(inputs if isinstance(inputs, tuple) else [inputs]))
    arrays = {str(name): np.asarray(x) for name, x in named.items()}
    return {name: x if x.dtype.kind in "iu" else np.asarray(x, np.float32) for name, x in arrays.items()}


def _read_split(source: UserTask, split: str, what: str) -> tuple[dict[str, Array], Array | None]:
    parts, found = [], []
    for batch in source.batches(split):
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise SecateurError(f"task {what}: split {split!r}: a batch must be (inputs, targets or None)")
        parts.append(batch[0])
        found.append(batch[1])
    try:
        arrays = [_named(x) for x in parts]
        if not sum(len(next(iter(x.values()))) for x in arrays):
            raise SecateurError(f"task {what}: split {split!r} is empty")
        inputs = {name: np.concatenate([x[name] for x in arrays]) for name in arrays[0]}
        targets = None if any(y is None for y in found) else np.concatenate([np.asarray(y) for y in found])
    except (ValueError, TypeError, KeyError, StopIteration) as error:
        if isinstance(error, SecateurError):
            raise
        raise SecateurError(f"task {what}: split {split!r}: batches are not numbers of one shape: {error}") from None
    if not all(np.isfinite(x).all() for x in inputs.values()):
        raise SecateurError(f"task {what}: split {split!r} has NaN or infinite inputs")
    counts = {len(x) for x in inputs.values()}
    if len(counts) > 1:
        raise SecateurError(f"task {what}: split {split!r}: its inputs have different numbers of samples: {sorted(counts)}")
    if targets is not None and len(targets) not in counts:
        raise SecateurError(f"task {what}: split {split!r} has {counts.pop()} inputs but {len(targets)} targets")
    return inputs, targets


def _part(inputs: Any, chosen: NDArray[np.integer[Any]]) -> Any:
    if isinstance(inputs, Mapping):
        return {name: x[chosen] for name, x in inputs.items()}
    return tuple(x[chosen] for x in inputs) if isinstance(inputs, tuple) else inputs[chosen]


class ArrayTask:
    """A task from arrays in memory; calibration and validation are split off the training data.

    Args:
        x_train: float32 or integers, (samples, …), in the model's own layout; of several inputs a dict by name or a tuple.
        x_test: likewise.
        y_train: integer labels, or None.
        y_test: likewise.
        validation: share of ``x_train`` for validation.
        calibration: most samples of the rest that calibration uses.
    """

    def __init__(
        self,
        x_train: Any,
        x_test: Any,
        y_train: Array | None = None,
        y_test: Array | None = None,
        validation: float = 0.15,
        calibration: int = 512,
    ) -> None:
        order = np.random.default_rng(0).permutation(len(next(iter(_named(x_train).values()))))
        held = max(1, round(validation * len(order)))
        train = order[held:] if len(order) > held else order
        index = {"train": train, "calibration": train[:calibration], "validation": order[:held]}
        self._splits: dict[str, tuple[Any, Array | None]] = {
            split: (_part(x_train, chosen), None if y_train is None else y_train[chosen]) for split, chosen in index.items()
        }
        self._splits["test"] = (x_test, y_test)

    def batches(self, split: str) -> Iterable[tuple[Any, Array | None]]:
        """Return the split as one batch."""
        return [self._splits[split]]


def load_task(spec: str) -> Task:
    """Load a task.

    Args:
        spec: ``FILE.npz`` (float32 ``x_train``, ``x_test``; optional integer ``y_train``, ``y_test``) or ``module:object``
            (an object with ``batches``, or a function or class that returns one).

    Raises:
        SecateurError: one line that says what is wrong with it.
    """
    if not spec.endswith(".npz"):
        return Task(task_object(spec), spec)
    arrays = _read_npz(spec)
    if "x_train" not in arrays or "x_test" not in arrays:
        raise SecateurError(f"task {spec}: needs the arrays x_train and x_test, has {', '.join(arrays) or 'neither'}")
    for name, array in arrays.items():
        if name.startswith("x_") and not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
            raise SecateurError(f"task {spec}: {name} must hold float32 numbers, has {array.dtype}")
    if arrays["x_train"].ndim < 2 or len(arrays["x_train"]) < 2 or arrays["x_test"].ndim < 2 or not len(arrays["x_test"]):
        raise SecateurError(f"task {spec}: x_train needs at least two samples and x_test one, batch first")
    for name in ("train", "test"):
        labels = arrays.get(f"y_{name}")
        if labels is not None and (
            not np.issubdtype(labels.dtype, np.integer) or labels.ndim < 1 or len(labels) != len(arrays[f"x_{name}"])
        ):
            raise SecateurError(f"task {spec}: y_{name} must hold one integer label for each of x_{name}")
    return Task(ArrayTask(arrays["x_train"], arrays["x_test"], arrays.get("y_train"), arrays.get("y_test")), spec)


def task_object(spec: str) -> UserTask:
    """Return the object that ``module:object`` names; a function or class is called for it.

    Raises:
        SecateurError: if it has no method ``batches``.
    """
    found = load_object(spec)
    if (isinstance(found, type) or not hasattr(found, "batches")) and callable(found):
        found = found()
    if not callable(getattr(found, "batches", None)):
        raise SecateurError(f"task {spec}: it has no method 'batches(split)'")
    return cast(UserTask, found)


def _read_npz(spec: str) -> dict[str, Array]:
    try:
        with open(spec, "rb") as file:
            if file.read(4) != b"PK\x03\x04":
                raise SecateurError(f"task {spec}: not a .npz file; numpy.savez writes one")
            file.seek(0)
            with np.load(file, allow_pickle=False) as content:
                return {name: content[name] for name in ("x_train", "x_test", "y_train", "y_test") if name in content}
    except SecateurError:
        raise
    except OSError as error:
        raise SecateurError(f"task {spec}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged archive fails in zipfile, zlib, struct, tokenize or numpy, each with its own type
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SecateurError(f"task {spec}: cannot be read as .npz: {reason}") from None
