"""Boards that lack things: sensors, a clock, room on the disk, a free port."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.bundle_factory import make_bundle
from tests.embedded_broker import BrokerProcess
from tests.ports import free_port
from tests.system.conftest import AgentProcess
from tests.system.scripted_host import ScriptedHost
from tests.system.stack import Stack, expected, infer, infer_soon

from secateur.bundle.keys import Keys
from secateur_agent.clock import RELEASE_FLOOR_S

# Read before everything else by an interpreter that finds it on its path: the year is 1970.
CLOCK_OF_1970 = """
import time
_started_s = time.time()
_wall = time.time
time.time = lambda: _wall() - _started_s
"""


def test_a_board_without_any_sensor_file_serves_and_reports_them_as_unavailable(
    make_stack: Callable[..., Stack], tmp_path: Path
) -> None:
    """One missing sysfs file kills the service (jetson_stats#484, #470)."""
    (tmp_path / "root").mkdir()
    stack = make_stack(sysfs_root=str(tmp_path / "root"))
    np.testing.assert_allclose(infer_soon(stack.agent)[0], expected(16), rtol=1e-5)
    samples = stack.eventually("telemetry", lambda: stack.call("telemetry", stack.device)[3:])
    readings = samples[-1]["readings"]
    missing = {name: reading for name, reading in readings.items() if reading.get("value") is None}
    assert missing
    assert {reading["quality"] for reading in missing.values()} == {"unavailable"}
    assert "internal error" not in str(stack.call("events", stack.device))


def test_a_board_whose_clock_says_1970_takes_commands_and_dates_samples_from_the_floor(
    make_stack: Callable[..., Stack], tmp_path: Path
) -> None:
    """No clock chip: 1970 (iotedge#4062)."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(CLOCK_OF_1970)
    stack = make_stack(environment={"PYTHONPATH": str(tmp_path / "path")})
    np.testing.assert_allclose(infer_soon(stack.agent)[0], expected(16), rtol=1e-5)
    command = stack.call("command", stack.device, "diagnose", 60.0)
    stack.eventually("answer", lambda: stack.command_status(command["id"]) == "done")
    times_s = [sample["wall_s"] for sample in stack.eventually("telemetry", lambda: stack.call("telemetry", stack.device))]
    assert all(RELEASE_FLOOR_S <= time_s < RELEASE_FLOOR_S + 3600 for time_s in times_s)


def test_a_disk_that_refuses_ends_the_download_cleanly_and_the_next_push_succeeds(
    installed: Callable[..., AgentProcess], broker: BrokerProcess, host: ScriptedHost, keys: Keys, tmp_path: Path
) -> None:
    """A file may not grow any more, as on a full disk."""
    agent = installed(broker.url)
    agent.start()
    infer_soon(agent)
    host.wait(lambda h: h.births)
    limits = resource.prlimit(agent.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(agent.pid, resource.RLIMIT_FSIZE, (100_000, limits[1]))
    model = host.model(make_bundle(tmp_path, keys, name="big", widths=(16,), ballast_bytes=150_000))
    host.want(1, model)
    host.wait(lambda h: "fetching" in h.steps)
    host.broadcast(model)
    host.wait(lambda h: h.reported and h.reported.install == "rolled-back")
    assert host.reported is not None
    assert "write" in host.reported.fault
    assert "\n" not in host.reported.fault
    np.testing.assert_allclose(infer(agent)[0], expected(16), rtol=1e-5)

    resource.prlimit(agent.pid, resource.RLIMIT_FSIZE, limits)
    host.steps.clear()
    host.want(2, model)
    host.wait(lambda h: "fetching" in h.steps)
    host.broadcast(model)
    host.wait_installed(model)
    np.testing.assert_allclose(infer_soon(agent, "big")[0], expected(16), rtol=1e-5)


def assert_one_line(run: subprocess.CompletedProcess[str], *words: str) -> None:
    assert run.returncode not in (0, -9)
    assert len(run.stderr.strip().splitlines()) == 1, run.stderr
    assert all(word in run.stderr for word in words), run.stderr


def test_an_agent_whose_port_is_busy_says_so_in_one_line(make_agent: Callable[..., AgentProcess]) -> None:
    agent = make_agent()
    host, _, port = agent.address.rpartition(":")
    with socket.create_server((host, int(port))):
        assert_one_line(agent.command("run"), agent.address)


@pytest.mark.parametrize("what", ["state folder", "store"])
def test_an_agent_whose_files_cannot_be_written_says_so_in_one_line(
    what: str, make_agent: Callable[..., AgentProcess]
) -> None:
    agent = make_agent()
    path = agent.state if what == "state folder" else agent.state / "store"
    path.parent.mkdir(exist_ok=True)
    path.write_text("a file where a folder should be")
    assert_one_line(agent.command("run"), str(path))
    assert path.read_text() == "a file where a folder should be"


def test_a_host_whose_port_or_state_folder_cannot_be_used_says_so_in_one_line(keys: Keys, tmp_path: Path) -> None:
    def serve(listen: str, state: Path) -> subprocess.CompletedProcess[str]:
        broker = f"mqtt://127.0.0.1:{free_port()}"
        options = ["--broker", broker, "--keys", str(keys.folder), "--listen", listen, "--state", str(state), "--quiet"]
        command = [sys.executable, "-m", "secateur.cli", "serve", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    with socket.create_server(("127.0.0.1", 0)) as busy:
        listen = f"127.0.0.1:{busy.getsockname()[1]}"
        assert_one_line(serve(listen, tmp_path / "state"), listen)
    (tmp_path / "file").write_text("")
    assert_one_line(serve("127.0.0.1:0", tmp_path / "file"), str(tmp_path / "file"))
