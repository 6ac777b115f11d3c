"""The environment that boards get runs on arm64: emulated by QEMU, without a kernel of its own. `tests/boards` boots one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from secateur.bundle.keys import create_keys
from tests.arm64.machine import ready, run_python
from tests.bundle_factory import make_bundle

_IMPORT_ALL = """
import sys
sys.path.insert(0, "/opt/site-packages")
import importlib, pkgutil, secateur_agent
for module in pkgutil.walk_packages(secateur_agent.__path__, "secateur_agent."):
    # The setup program is no module of the agent; the other runtime is not in this environment.
    if not module.name.startswith("secateur_agent.board") and "tflite" not in module.name and "__main__" not in module.name:
        importlib.import_module(module.name)
print("imported", len(sys.modules))
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A copy of the machine's root folder: links, for nothing in it is changed."""
    made = ready()
    if made is None:
        if os.environ.get("CI"):
            pytest.fail("'python -m tests.arm64.machine' has not made the arm64 machine")
        pytest.skip("no arm64 machine: it needs qemu-user-static and mmdebstrap ('python -m tests.arm64.machine')")
    subprocess.run(["cp", "-al", str(made), str(tmp_path / "root")], check=True)
    return tmp_path / "root"


def test_every_module_of_the_agent_is_there_and_loads(machine: Path) -> None:
    done = run_python(machine, "-c", _IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("imported")


def test_rungs_are_materialised_and_infer_what_the_host_saw(machine: Path, tmp_path: Path) -> None:
    keys = create_keys(tmp_path / "keys")
    bundle = make_bundle(machine / "tmp", keys, profile="raspberry-pi-4b")
    shutil.copy(keys.root_path, machine / "tmp/root.json")
    shutil.copy(Path(__file__).with_name("infer.py"), machine / "tmp/infer.py")
    done = run_python(machine, "/tmp/infer.py", "/opt/site-packages", f"/tmp/{bundle.name}", "/tmp/root.json")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["aarch64", f"r{number}-fp32"] for number in range(3)]
