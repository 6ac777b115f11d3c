"""Tasks: the data that a network is compiled with, and what counts as good.

A task is ``module:object`` with ``batches(split)``, one finite, repeatable pass of ``(inputs, targets or None)`` as numpy
for the splits ``train``, ``calibration``, ``validation`` and ``test``; optionally ``loss(outputs, targets)`` in torch and
``metric(outputs, targets)`` in numpy over a whole split, 0 to 1, higher is better. Or it is a ``.npz`` file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from secateur.ir import SecateurError
from secateur.load.objects import load_object

Array = NDArray[Any]
SPLITS = ("train", "calibration", "validation", "test")


class UserTask(Protocol):
    """What a user's task object must have; ``loss`` and ``metric`` may be missing."""

    def batches(self, split: str) -> Iterable[tuple[Array, Array | None]]:
        """Return one pass over a split."""


class Task:
    """A task, its splits read into memory and checked.

    Attributes:
        spec: what named it.
        labelled: whether every split has targets. If not, the metric is agreement with the original network.
        metric_name: what `metric` computes.
    """

    def __init__(self, source: UserTask, what: str) -> None:
        """Read every split.

        Raises:
            SecateurError: if a split is empty, holds NaN, or its shapes disagree.
        """
        self.spec = what
        self._splits = {split: _read_split(source, split, what) for split in SPLITS}
        shapes = {name: inputs.shape[1:] for name, (inputs, _) in self._splits.items()}
        if len(set(shapes.values())) > 1:
            raise SecateurError(f"task {what}: the splits disagree on the shape of an input: {shapes}")
        self.labelled = all(targets is not None for _, targets in self._splits.values())
        own = getattr(source, "metric", None)
        self._metric: Callable[[Array, Array], float] = own if callable(own) else accuracy
        self.metric_name = (
            "agreement" if not self.labelled else getattr(source, "metric_name", "metric" if own else "accuracy")
        )
        loss = getattr(source, "loss", None)
        self.loss: Callable[[Any, Any], Any] | None = loss if callable(loss) and self.labelled else None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch."""
        return tuple(self._splits["train"][0].shape[1:])

    def inputs(self, split: str) -> NDArray[np.float32]:
        """Return all inputs of a split, (samples, …), float32."""
        return self._splits[split][0]

    def targets(self, split: str) -> Array | None:
        """Return all targets of a split, or None."""
        return self._splits[split][1] if self.labelled else None

    def metric(self, outputs: Array, split: str, reference: Array) -> float:
        """Return how good ``outputs`` are: the task's metric, or without labels the agreement with ``reference``.

        Args:
            outputs: of the network in question, all samples of the split.
            split: which split.
            reference: outputs of the original network.
        """
        targets = self.targets(split)
        return float(self._metric(outputs, targets)) if targets is not None else agreement(outputs, reference)


def accuracy(outputs: Array, targets: Array) -> float:
    """Share of samples whose largest output is at the target's index."""
    return float((outputs.reshape(len(outputs), -1).argmax(1) == np.asarray(targets).ravel()).mean())


def agreement(outputs: Array, reference: Array) -> float:
    """Share of samples for which both networks have their largest output at the same index."""
    return accuracy(outputs, reference.reshape(len(reference), -1).argmax(1))


def _read_split(source: UserTask, split: str, what: str) -> tuple[NDArray[np.float32], Array | None]:
    parts, found = [], []
    for batch in source.batches(split):
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise SecateurError(f"task {what}: split {split!r}: a batch must be (inputs, targets or None)")
        parts.append(batch[0])
        found.append(batch[1])
    try:
        arrays = [np.asarray(x, np.float32) for x in parts]
        if not sum(len(x) for x in arrays):
            raise SecateurError(f"task {what}: split {split!r} is empty")
        inputs = np.concatenate(arrays)
        targets = None if any(y is None for y in found) else np.concatenate([np.asarray(y) for y in found])
    except (ValueError, TypeError) as error:
        if isinstance(error, SecateurError):
            raise
        raise SecateurError(f"task {what}: split {split!r}: batches are not numbers of one shape: {error}") from None
    if not np.isfinite(inputs).all():
        raise SecateurError(f"task {what}: split {split!r} has NaN or infinite inputs")
    if targets is not None and len(targets) != len(inputs):
        raise SecateurError(f"task {what}: split {split!r} has {len(inputs)} inputs but {len(targets)} targets")
    return inputs, targets


class ArrayTask:
    """A task from arrays in memory; calibration and validation are split off the training data.

    Args:
        x_train: float32, (samples, …), in the model's own layout.
        x_test: likewise.
        y_train: integer labels, or None.
        y_test: likewise.
        validation: share of ``x_train`` for validation.
        calibration: most samples of the rest that calibration uses.
    """

    def __init__(
        self,
        x_train: Array,
        x_test: Array,
        y_train: Array | None = None,
        y_test: Array | None = None,
        validation: float = 0.15,
        calibration: int = 512,
    ) -> None:
        order = np.random.default_rng(0).permutation(len(x_train))
        held = max(1, round(validation * len(order)))
        train = order[held:] if len(order) > held else order
        index = {"train": train, "calibration": train[:calibration], "validation": order[:held]}
        self._splits: dict[str, tuple[Array, Array | None]] = {
            split: (x_train[chosen], None if y_train is None else y_train[chosen]) for split, chosen in index.items()
        }
        self._splits["test"] = (x_test, y_test)

    def batches(self, split: str) -> Iterable[tuple[Array, Array | None]]:
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
