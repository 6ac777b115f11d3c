"""The supervisor stays small, and what is missing or broken around it does not end it."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.bundle_factory import make_bundle

from secateur.bundle.keys import Keys, create_keys
from secateur_agent.helper_processes import HelperEnded
from secateur_agent.inference.listen import listening_socket
from secateur_agent.install.by_hand import install_by_hand
from secateur_agent.measurements import Measurements
from secateur_agent.offline import NoBroker
from secateur_agent.startup import SetupError, prepare
from secateur_agent.supervisor import Stop, Supervisor


def test_imports_neither_numpy_nor_a_runtime_nor_what_else_is_heavy() -> None:
    heavy = ("numpy", "onnxruntime", "asyncio", "waitress", "onnx", "torch", "importlib.metadata", "secateur")
    program = (
        "import sys, secateur_agent.cli, secateur_agent.supervisor, secateur_agent.sensors\n"
        "secateur_agent.sensors.discover()\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


class RecordingLink(NoBroker):
    """Remembers what is published."""

    connected = True

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> bool:
        self.published.append((topic.rsplit("/up/")[-1], payload))
        return True

    def wait(self, kind: str, words: str, seconds: float = 30) -> None:
        deadline_s = time.monotonic() + seconds
        while not any(topic == kind and words.encode() in payload for topic, payload in list(self.published)):
            assert time.monotonic() < deadline_s, self.published[-5:]
            time.sleep(0.02)


class Running:
    """A supervisor in a thread of this process, with the installed toy model."""

    def __init__(self, folder: Path, keys: Keys, **settings: Any) -> None:
        lines = {
            "device": "d",
            "profile": "linux-x86-64",
            "state_dir": str(folder / "state"),
            "trust_root": str(keys.root_path),
            "sysfs_root": str(folder),
        }
        text = "".join(f'{key} = "{value}"\n' for key, value in {**lines, **settings}.items())
        (folder / "agent.toml").write_text(text + "tick_s = 0.1\nreport_s = 0.2\n")
        self.setup = prepare(folder / "agent.toml")
        self.inbox: queue.Queue[Any] = queue.Queue()
        self.link = RecordingLink()
        self.listening = listening_socket("127.0.0.1:0")
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        Supervisor(self.setup, self.listening, self.inbox, self.link, "boot").run()

    def stop(self) -> None:
        self.inbox.put(Stop())
        if self.thread.is_alive():
            self.thread.join(30)
        self.listening.close()
        self.setup.release()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    keys = create_keys(tmp_path / "keys")
    agent = Running(tmp_path, keys)
    install_by_hand(agent.setup, make_bundle(tmp_path, keys), lambda line: None)
    yield agent
    agent.stop()


def test_serves_and_reports_with_no_sensor_file_at_all(running: Running) -> None:
    """One missing sysfs file kills the service (jetson_stats#484, #470); here every one is missing."""
    running.thread.start()
    running.link.wait("shadow", '"rung":"r0-fp32"')
    running.link.wait("telemetry", '"quality":"unavailable"')
    assert running.thread.is_alive()


def test_an_event_that_cannot_be_handled_is_a_fault_and_not_the_end(running: Running) -> None:
    running.thread.start()
    running.link.wait("shadow", '"rung":"r0-fp32"')
    running.inbox.put(b"nonsense")
    running.inbox.put(HelperEnded(job=None))  # type: ignore[arg-type]
    running.link.wait("event", "internal error")
    assert running.thread.is_alive()


def test_a_model_file_that_is_gone_is_written_again(running: Running) -> None:
    (model,) = (running.setup.store.root / "models").iterdir()
    file = model / "r0-fp32.model"
    right = file.read_bytes()
    file.write_bytes(b"damaged by a dying SD card")
    running.thread.start()
    running.link.wait("event", "r0-fp32 does not load")
    running.link.wait("event", "r1-fp32 serves")
    deadline_s = time.monotonic() + 30
    while file.read_bytes() != right:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_a_critical_squeeze_of_memory_replaces_the_worker_and_is_told(running: Running, tmp_path: Path) -> None:
    """Free memory and what the rungs take are simulated, for those of the toy differ by nothing; the worker is real."""
    measurements = Measurements(running.setup.state_path / "measurements.json")
    ((digest, measured),) = measurements._by_model.items()
    peaks_mb = {"r0-fp32": 90.0, "r1-fp32": 80.0, "r2-fp32": 70.0}
    measurements.put(digest, [replace(each, peak_rss_mb=peaks_mb[each.rung]) for each in measured.values()])

    def free_mb(megabytes: int) -> None:
        (tmp_path / "proc").mkdir(exist_ok=True)
        text = f"MemTotal: 8388608 kB\nMemFree: 1024 kB\nMemAvailable: {megabytes * 1024} kB\n"
        (tmp_path / "proc" / "new").write_text(text)
        (tmp_path / "proc" / "new").rename(tmp_path / "proc" / "meminfo")

    free_mb(4000)
    running.thread.start()
    running.link.wait("shadow", '"rung":"r0-fp32"')
    running.link.wait("event", "r0-fp32 serves")
    free_mb(5)
    running.link.wait("event", "the worker is replaced: r2-fp32 needs")
    running.link.wait("event", "r2-fp32 serves; the worker was replaced, requests waited")
    running.link.wait("shadow", '"switch":"replace"')


def test_one_state_folder_is_for_one_agent(running: Running) -> None:
    with pytest.raises(SetupError, match="another secateur-agent uses it"):
        prepare(Path(running.setup.config.state_dir).parent / "agent.toml")
