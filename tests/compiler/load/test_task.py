"""Tasks are read whole and checked before anything is computed with them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secateur.ir import SecateurError
from secateur.load import ArrayTask, Task, load_task

RNG = np.random.default_rng(0)
GOOD = {
    "x_train": RNG.normal(size=(40, 3)).astype(np.float32),
    "x_test": RNG.normal(size=(10, 3)).astype(np.float32),
    "y_train": RNG.integers(0, 2, 40),
    "y_test": RNG.integers(0, 2, 10),
}


def saved(tmp_path: Path, **changes: Any) -> str:
    arrays = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    np.savez(tmp_path / "data.npz", **arrays)
    return str(tmp_path / "data.npz")


class Source:
    """Two batches of each split, as a user's task gives them."""

    def __init__(self, **changes: Any) -> None:
        batch = (np.zeros((4, 3)), np.array([0, 1, 0, 1]))
        self.splits = {split: [batch, batch] for split in ("train", "calibration", "validation", "test")} | changes

    def batches(self, split: str) -> Iterable[Any]:
        return iter(self.splits[split])


def test_a_file_gives_four_splits(tmp_path: Path) -> None:
    task = load_task(saved(tmp_path))
    assert task.labelled
    assert task.metric_name == "accuracy"
    assert task.input_shape == (3,)
    assert len(task.inputs("train")) + len(task.inputs("validation")) == 40
    assert len(task.inputs("test")) == 10
    train = {row.tobytes() for row in task.inputs("train")}
    assert not train & {row.tobytes() for row in task.inputs("validation")}
    assert {row.tobytes() for row in task.inputs("calibration")} <= train


def test_inputs_keep_their_labels(tmp_path: Path) -> None:
    labels = (GOOD["x_train"][:, 0] > 0).astype(np.int64)
    task = load_task(saved(tmp_path, y_train=labels))
    for split in ("train", "validation", "calibration"):
        np.testing.assert_array_equal(task.targets(split), task.inputs(split)[:, 0] > 0)


def test_without_labels_the_metric_is_agreement_with_the_original(tmp_path: Path) -> None:
    task = load_task(saved(tmp_path, y_train=None, y_test=None))
    original = np.eye(3, dtype=np.float32)
    other = original.copy()
    other[0] = [0, 1, 0]
    assert not task.labelled
    assert task.metric_name == "agreement"
    assert task.metric(other, "validation", original) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"x_train": None}, "needs the arrays x_train and x_test"),
        ({"x_train": np.zeros((1, 3), np.float32)}, "at least two samples"),
        ({"x_test": np.zeros((0, 3), np.float32), "y_test": None}, "x_test one"),
        ({"x_test": np.float32(3)}, "batch first"),
        ({"x_train": np.full((40, 3), np.nan, np.float32)}, "NaN"),
        ({"x_test": np.zeros((10, 4), np.float32)}, "disagree on the shape"),
        ({"x_train": np.full((40, 3), "cat")}, "must hold float32"),
        ({"y_train": np.zeros(40, np.float32)}, "one integer label"),
        ({"y_train": np.zeros(39, np.int64)}, "one integer label"),
        ({"y_test": np.int64(1)}, "one integer label"),
        ({"x_train": np.array([{}, {}], object)}, "cannot be read as .npz"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SecateurError, match=reason) as caught:
        load_task(saved(tmp_path, **changes))
    assert "\n" not in str(caught.value)
    assert "data.npz" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"train": []}, "split 'train' is empty"),
        ({"test": [(np.zeros((0, 3)), None)]}, "split 'test' is empty"),
        ({"validation": [(np.full((2, 3), np.inf), np.zeros(2))]}, "split 'validation' has NaN"),
        ({"train": [(np.zeros((2, 3)), np.zeros(2)), (np.zeros((2, 4)), np.zeros(2))]}, "of one shape"),
        ({"train": [(np.zeros((2, 3)), np.zeros(3))]}, "2 inputs but 3 targets"),
        ({"test": [(np.zeros((2, 9)), np.zeros(2))]}, "disagree"),
        ({"train": [np.zeros((5, 3))]}, r"must be \(inputs, targets or None\)"),
        ({"train": [(["a", "b"], None)]}, "not numbers"),
    ],
)
def test_wrong_splits_are_refused_in_one_line(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SecateurError, match=reason) as caught:
        Task(Source(**changes), "mine")
    assert "\n" not in str(caught.value)


def test_one_unlabelled_split_makes_the_task_unlabelled() -> None:
    task = Task(Source(test=[(np.zeros((4, 3)), None)]), "mine")
    assert not task.labelled
    assert task.targets("train") is None


def test_objects_classes_and_functions_are_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_tasks.py").write_text(
        "import numpy as np\n"
        "class Mine:\n"
        "    metric_name = 'share of ones'\n"
        "    def batches(self, split):\n"
        "        return [(np.ones((4, 3)), np.ones(4))]\n"
        "    def metric(self, outputs, targets):\n"
        "        return 0.25\n"
        "ready = Mine()\n"
        "def make():\n"
        "    return Mine()\n"
        "nothing = 7\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("Mine", "ready", "make"):
        task = load_task(f"my_tasks:{name}")
        assert task.metric_name == "share of ones"
        assert task.metric(np.zeros((4, 2)), "test", np.zeros((4, 2))) == 0.25
    for spec in ("my_tasks:nothing", "my_tasks:np"):
        with pytest.raises(SecateurError, match="no method 'batches"):
            load_task(spec)


def test_few_samples_still_give_every_split() -> None:
    task = Task(ArrayTask(np.zeros((2, 3), np.float32), np.zeros((1, 3), np.float32)), "two")
    assert all(len(task.inputs(split)) for split in ("train", "calibration", "validation", "test"))


def archive() -> bytes:
    buffer = BytesIO()
    np.savez_compressed(buffer, **GOOD)
    return buffer.getvalue()


@given(data=st.binary(max_size=300), magic=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_refused(tmp_path: Path, data: bytes, magic: bool) -> None:
    (tmp_path / "data.npz").write_bytes((b"PK\x03\x04" if magic else b"") + data)
    with pytest.raises(SecateurError):
        load_task(str(tmp_path / "data.npz"))


@given(position=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.integers(0, 100))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_loads_or_is_refused(tmp_path: Path, position: int, value: int, cut: int) -> None:
    data = bytearray(archive())
    data[position % len(data)] = value
    (tmp_path / "data.npz").write_bytes(data[: len(data) - cut])
    with contextlib.suppress(SecateurError):
        load_task(str(tmp_path / "data.npz"))
