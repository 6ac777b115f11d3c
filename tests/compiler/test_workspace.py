"""The workspace brings back the very master that rungs were cut from."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.compiler import compiled

from secateur.ir import SecateurError
from secateur.recutting import recut
from secateur.workspace import checked_name, load_workspace, locked, read_state
from secateur_agent.protocol.messages import Constraints


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A copy of the shared compilation's workspace."""
    compiled.result()
    return Path(shutil.copytree(compiled.folder() / "out" / "workspace", tmp_path / "workspace"))


def test_the_master_comes_back(workspace: Path) -> None:
    state, master, judge = load_workspace(workspace)
    (first, second) = compiled.result().profiles
    assert list(state.profiles) == [first.profile, second.profile]
    assert master.groups.full() == first.rungs[0].entry.keep
    assert len(master.goals) >= 3
    assert {node.op for node in master.network.nodes} >= {"Conv", "Affine", "Linear"}
    assert all(isinstance(node.attrs["strides"], tuple) for node in master.network.nodes if node.op == "Conv")
    value = judge.metric(first.rungs[1].data, "validation")
    assert value == pytest.approx(first.rungs[1].entry.metric_value, abs=1e-6)
    base = second.bundle / "base-fp32.safetensors"
    for name, weight in master.base("fp32").items():
        assert np.asarray(weight).tobytes() in base.read_bytes(), name


def test_a_users_profile_need_not_be_there_any_more(workspace: Path) -> None:
    device = read_state(workspace).profiles[compiled.BOARD].device
    assert device.grid.channels == 2
    assert device.name == compiled.BOARD


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: shutil.rmtree(folder), "'secateur compile' makes one"),
        (lambda folder: (folder / "state.json").unlink(), "'secateur compile' makes one"),
        (lambda folder: (folder / "state.json").write_text("{"), "state.json is damaged"),
        (lambda folder: (folder / "state.json").write_text('{"v": 1}'), "state.json is damaged"),
        (lambda folder: (folder / "arrays.safetensors").unlink(), "arrays.safetensors cannot be read"),
        (lambda folder: (folder / "arrays.safetensors").write_bytes(b"not arrays"), "arrays.safetensors cannot be read"),
        (lambda folder: (folder / f"{compiled.BOARD}-int8.recipe").unlink(), "int8.recipe"),
        (lambda folder: (folder / f"{compiled.BOARD}-int8.recipe").write_bytes(b"?"), "not a recipe"),
    ],
)
def test_a_damaged_workspace_is_refused_in_one_line(workspace: Path, damage, reason: str) -> None:  # type: ignore[no-untyped-def]
    damage(workspace)
    limit = compiled.result().profiles[0].rungs[0].entry.latency_ms
    with pytest.raises(ValueError, match=reason) as caught:
        recut(workspace, compiled.BOARD, Constraints(latency_ms=0.9 * limit), [], compiled.keys())
    assert "\n" not in str(caught.value)


def test_the_metric_of_a_task_class_is_used_again(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_task.py").write_text(
        "class Mine:\n"
        "    def batches(self, split):\n"
        "        return []\n"
        "    def metric(self, outputs, targets):\n"
        "        return 0.125\n"
        "def make():\n"
        "    return Mine()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("Mine", "make"):
        text = (workspace / "state.json").read_text().replace('"task":"digits"', f'"task":"their_task:{name}"')
        (workspace / "other").mkdir(exist_ok=True)
        (workspace / "other" / "state.json").write_text(text)
        shutil.copy(workspace / "arrays.safetensors", workspace / "other")
        _, _, judge = load_workspace(workspace / "other")
        assert judge.metric(compiled.result().profiles[0].rungs[0].data, "validation") == 0.125


def test_the_lock_is_held_and_let_go(workspace: Path) -> None:
    import fcntl

    with locked(workspace), open(workspace / ".lock") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(workspace / ".lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x" * 65, "x\n"])
def test_names_that_cannot_be_folders_are_refused(name: str) -> None:
    with pytest.raises(SecateurError, match="--name"):
        checked_name(name)
    assert checked_name("net-1.0_b") == "net-1.0_b"
