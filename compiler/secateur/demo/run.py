"""The whole demonstration, from training to the closing table."""

from __future__ import annotations

import platform
import shutil
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import torch

from secateur.bundle.keys import Keys, create_keys
from secateur.demo.board import SIMULATED
from secateur.demo.devices import DemoDevice, make_devices, start_agent
from secateur.demo.processes import DemoError, Processes, free_port
from secateur.demo.scenario import drain_phone, throttle_pi, wait_for_top
from secateur.demo.summary import DemoSummary, summarise_device, summarise_reprunes
from secateur.demo.traffic import Traffic
from secateur.fleet.client import HostClient
from secateur.load import Task
from secateur.pipeline import CompileResult, CompileSettings, compile
from secateur.report import write_report
from secateur.samples.smartwatch import SmartwatchTask, train_smartwatch
from secateur_agent.governor.expected_accuracy import expected_accuracy
from secateur_agent.store.files import write_atomic

MODEL = "smartwatch"
TUNING_STEPS = 150
STEADY_S = 8.0


class _Teller:
    """Prints lines with the time since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"[{self.seconds:6.1f} s] {text}", flush=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began


def run_demo(folder: Path, show: Callable[[DemoSummary], None], stay: bool) -> DemoSummary:
    """Run the demonstration.

    Args:
        folder: everything is written here: ``demo/`` anew each time, and ``demo.json``.
        show: prints the summary.
        stay: keep everything running at the end until Ctrl-C.

    Returns:
        What was written to ``demo.json``.

    Raises:
        DemoError: if a process ends, or something does not happen in time.
    """
    torch.set_num_threads(1)
    say = _Teller()
    work = folder / "demo"
    shutil.rmtree(work, ignore_errors=True)
    keys = create_keys(work / "keys")
    devices = make_devices(work)
    with Processes(work / "logs") as processes:
        port = free_port()
        broker_url = f"mqtt://127.0.0.1:{port}"
        processes.start("broker", "secateur.fleet.broker", "--port", str(port))
        processes.start(
            "host", "secateur.cli", "serve", "--broker", broker_url, "--listen", "127.0.0.1:0",
            "--state", str(work / "host"), "--keys", str(keys.folder),
        )  # fmt: skip
        for device in devices:
            start_agent(processes, work, device, broker_url, keys)
        say(f"started a broker, the host and three agents; {SIMULATED}; logs in {work / 'logs'}")
        task = SmartwatchTask()
        result = _make_bundles(work, task, keys, [d.profile.name for d in devices], say)
        processes.wait_for("the host's API", lambda: (work / "host" / "host.json").exists())
        with HostClient.find(work / "host") as host:
            _deliver(host, processes, devices, work, say)
            summary = _play(host, processes, devices, task, result, say)
            write_atomic(folder / "demo.json", msgspec.json.format(msgspec.json.encode(summary), indent=1) + b"\n")
            show(summary)
            print(f"written to {folder / 'demo.json'}; the compilation's report is {work / 'bundles' / 'report.html'}")
            if stay:
                print(
                    f"\neverything keeps running until Ctrl-C; try: secateur devices list --state {work / 'host'}",
                    flush=True,
                )
                _wait_for_interrupt(processes)
    return summary


def _make_bundles(work: Path, task: SmartwatchTask, keys: Keys, profiles: list[str], say: _Teller) -> CompileResult:
    say("training the smartwatch network: 7 people train, 1 validates, 2 are never seen")
    network = train_smartwatch(task)
    say(f"compiling for {', '.join(profiles)}")
    settings = CompileSettings(steps=TUNING_STEPS)
    spec = "secateur.samples.smartwatch:SmartwatchTask"
    result = compile(network, Task(task, spec), profiles, work / "bundles", MODEL, keys, settings, _stages(say))
    write_report(work / "bundles", result)
    for made in result.profiles:
        values = ", ".join(f"{rung.entry.id} {rung.test_value:.1%}" for rung in made.rungs)
        say(f"{made.profile}: {made.bundle_bytes / 1e3:.0f} kB; accuracy on people never seen: {values}")
    return result


def _stages(say: _Teller) -> Callable[[str, int, int], None]:
    seen: set[str] = set()
    names = {
        "prove": "proving the channel groups",
        "search": "measuring what cutting costs",
        "tune": "tuning all rungs together",
        "build": "quantizing, gating",
    }

    def tell(stage: str, done: int, total: int) -> None:
        if stage in names and stage not in seen:
            seen.add(stage)
            say(f"  {names[stage]}")

    return tell


def _deliver(host: HostClient, processes: Processes, devices: list[DemoDevice], work: Path, say: _Teller) -> None:
    known = {device.id for device in devices}
    processes.wait_for(
        "all agents online", lambda: known <= {each["device"] for each in host.devices() if each["state"] == "ready"}
    )

    def committed(device: DemoDevice) -> bool:
        reported = host.device(device.id)["reported"] or {}
        if reported.get("install") == "rolled-back":
            raise DemoError(f"demo: {device.id} rolled back: {reported.get('fault')}")
        return bool(reported.get("install") == "committed" and reported.get("rung"))

    # One after the other: each times its rungs in its trial, and they share this machine's few cores.
    for device in devices:
        host.push(work / "bundles" / f"{MODEL}-{device.profile.name}.bundle", [device.id])
        processes.wait_for(f"{device.id}: committed", partial(committed, device), 120.0)
        say(f"{device.id}: pushed over MQTT, verified, every rung tried, committed; it serves")


def _play(
    host: HostClient,
    processes: Processes,
    devices: list[DemoDevice],
    task: SmartwatchTask,
    result: CompileResult,
    say: _Teller,
) -> DemoSummary:
    windows, labels = next(iter(task.batches("test")))
    began_s = time.time()
    for device in devices:
        device.traffic = Traffic(device.url, MODEL, "input", windows, labels, device.rate_hz, device.batch)
        device.traffic.start()
    say("sending windows of the two unseen people to every agent, all along")
    time.sleep(STEADY_S)
    pi, _, phone = devices
    tops = {device.id: host.device(device.id)["reported"]["rung"] for device in devices}
    accuracy = expected_accuracy(rung.entry for rung in result.profiles[0].rungs)
    failures: list[BaseException] = []

    def drain() -> None:
        try:
            outcome = drain_phone(host, phone, say)
            if not outcome.reached or outcome.pinned_left_percent >= outcome.left_percent:
                failures.append(DemoError(f"demo: the phone's battery did not do as it should: {outcome}"))
        except ValueError as error:
            failures.append(error)

    # The host's client is not shared between threads at the same time by accident: httpx clients are thread-safe.
    other = threading.Thread(target=drain)
    other.start()
    throttle_pi(host, pi, accuracy, processes, say)
    other.join()
    if failures:
        raise failures[0]
    for device in (pi, phone):
        wait_for_top(host, device, tops[device.id], processes)
        say(f"{device.id}: back on {tops[device.id]}")
    time.sleep(2.0)
    for device in devices:
        assert device.traffic is not None
        device.traffic.stop()
    return DemoSummary(
        seconds=round(say.seconds, 1),
        devices=[summarise_device(host, device, began_s) for device in devices],
        reprunes=summarise_reprunes(host),
        simulated=SIMULATED,
        machine=_machine(),
    )


def _machine() -> str:
    """Which machine the times are of, and what that means for int8."""
    text = f"Latency is this machine's ({platform.machine()}), not a board's"
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        flags = ""
    if platform.machine() == "x86_64" and "vnni" not in flags:
        text += "; it has no VNNI instructions, so int8 may be slower here than fp32"
    return text + "."


def _wait_for_interrupt(processes: Processes) -> None:
    try:
        while True:
            processes.check()
            time.sleep(1.0)
    except KeyboardInterrupt:
        print("\nending everything", file=sys.stderr)
