"""A real agent, a real broker, real inference; the host is scripted. Processes are really killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
from tests.bundle_factory import make_bundle, make_recut
from tests.embedded_broker import BrokerProcess
from tests.system.conftest import DEVICE, AgentProcess
from tests.system.scripted_host import ScriptedHost
from tests.system.stack import expected, infer, infer_soon

from secateur.bundle.keys import Keys, create_keys
from secateur_agent.bundle.manifest import open_manifest
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import Desired, Policy


@pytest.fixture
def bundle(tmp_path: Path, keys: Keys) -> Path:
    return make_bundle(tmp_path, keys)


def test_serves_a_bundle_that_was_installed_by_hand_without_any_broker(
    make_agent: Callable[..., AgentProcess], bundle: Path
) -> None:
    agent = make_agent()
    installed = agent.command("install", str(bundle))
    assert installed.returncode == 0, installed.stderr
    agent.start()
    for binary in (True, False):
        infer_soon(agent)
        y, rung = infer(agent, binary=binary)
        assert rung == "r0-fp32"
        np.testing.assert_allclose(y, expected(16), rtol=1e-5)
    busy = agent.command("install", str(bundle))
    assert busy.returncode == 1
    assert "another secateur-agent uses it" in busy.stderr
    assert agent.stop() == 0


def test_installs_over_mqtt_reports_every_step_and_serves(
    make_agent: Callable[..., AgentProcess], broker: BrokerProcess, host: ScriptedHost, bundle: Path
) -> None:
    agent = make_agent(broker.url)
    agent.start()
    host.wait(lambda h: h.births)
    model = host.model(bundle)
    host.want(1, model)
    host.wait(lambda h: "fetching" in h.steps)
    host.broadcast(model)
    reported = host.wait_installed(model)
    assert host.steps == ["idle", "fetching", "verifying", "staged", "trial", "committed"]
    assert {each.rung for each in reported.measurements} == {"r0-fp32", "r1-fp32", "r2-fp32"}
    assert reported.endpoint == f"http://{agent.address}"
    np.testing.assert_allclose(infer(agent)[0], expected(16), rtol=1e-5)

    host.want(2, model, pin="r2-fp32")
    host.wait_installed(model, "r2-fp32")
    y, rung = infer(agent)
    assert rung == "r2-fp32"
    np.testing.assert_allclose(y, expected(4), rtol=1e-5)
    assert any("pinned" in text for text in host.texts("decision"))

    recut = make_recut(bundle, host.keys, width=12)
    host.want(3, model, recuts=(host.recut(recut),), pin="r9-fp32")
    host.publish(topics.repair(DEVICE, recut.entry.recipe, 0), recut.recipe)
    host.wait_installed(model, "r9-fp32")
    np.testing.assert_allclose(infer(agent)[0], expected(12), rtol=1e-5)

    assert agent.stop() == 0
    host.wait(lambda h: h.states[-1].state == "disconnected")
    for seqs in host.stored.values():
        assert sorted(set(seqs)) == list(range(1, max(seqs) + 1))


def test_killed_in_the_middle_of_a_download_it_continues_from_its_verified_chunks(
    make_agent: Callable[..., AgentProcess], broker: BrokerProcess, host: ScriptedHost, bundle: Path
) -> None:
    """Progress lost by a kill (balena-supervisor#1575)."""
    agent = make_agent(broker.url)
    agent.start()
    model = host.model(bundle)
    host.answers_asks = False
    host.want(1, model)
    host.wait(lambda h: "fetching" in h.steps)
    assert model.manifest.chunk_count > 2
    for index in (0, 2):
        host.send_chunk(model.manifest.sha256, index)
    host.publish(topics.chunk(model.manifest.sha256, 1), b"not the chunk that was signed")
    host.wait(lambda h: h.reported and h.reported.download_have == 2)
    host.wait(lambda h: any("chunk refused" in text for text in h.texts("fault")))
    agent.kill()
    host.wait(lambda h: h.states[-1].state == "lost")

    host.answers_asks = True
    host.asked.clear()
    agent.start()
    host.wait_installed(model)
    assert not {(model.manifest.sha256, 0), (model.manifest.sha256, 2)} & set(host.asked)
    np.testing.assert_allclose(infer_soon(agent)[0], expected(16), rtol=1e-5)


def test_killed_while_serving_it_serves_again_before_it_finds_a_broker(
    make_agent: Callable[..., AgentProcess], broker: BrokerProcess, host: ScriptedHost, bundle: Path
) -> None:
    agent = make_agent(broker.url)
    assert agent.command("install", str(bundle)).returncode == 0
    agent.start()
    infer_soon(agent)
    worker = agent.worker_pid
    agent.kill()
    broker.kill()
    agent.start()
    np.testing.assert_allclose(infer_soon(agent)[0], expected(16), rtol=1e-5)
    assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE
    assert agent.stop() == 0


def test_a_killed_worker_is_replaced_and_no_new_request_fails(make_agent: Callable[..., AgentProcess], bundle: Path) -> None:
    agent = make_agent()
    assert agent.command("install", str(bundle)).returncode == 0
    agent.start()
    infer_soon(agent)
    os.kill(agent.worker_pid, signal.SIGKILL)
    for _ in range(3):  # these wait in the backlog of the listening socket
        np.testing.assert_allclose(infer(agent)[0], expected(16), rtol=1e-5)
    infer(agent)
    os.kill(agent.worker_pid, signal.SIGKILL)  # the second within a minute: its memory must be too small
    deadline_s = time.monotonic() + 20
    while infer_soon(agent)[1] != "r1-fp32":
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_broken_update_is_rolled_back_and_not_installed_again(
    make_agent: Callable[..., AgentProcess], broker: BrokerProcess, host: ScriptedHost, keys: Keys, tmp_path: Path
) -> None:
    """A broken update is installed again and again (mender PR#1581, PR#97)."""
    good, bad = make_bundle(tmp_path, keys), make_bundle(tmp_path, keys, name="bad", widths=(16, 8))
    spoil_golden(bad, keys)
    agent = make_agent(broker.url)
    agent.start()
    model, broken = host.model(good), host.model(bad)
    host.want(1, model)
    host.wait(lambda h: "fetching" in h.steps)
    host.broadcast(model)
    host.wait_installed(model)
    host.steps.clear()
    host.want(2, broken)
    host.wait(lambda h: "fetching" in h.steps)
    host.broadcast(broken)
    host.wait(lambda h: h.reported and h.reported.install == "rolled-back")
    assert "golden" in host.reported.fault  # type: ignore[union-attr]
    np.testing.assert_allclose(infer(agent)[0], expected(16), rtol=1e-5)

    host.steps.clear()
    agent.kill()
    agent.start()
    infer_soon(agent)
    host.want(3, broken, policy=Policy(latency_ms=50))
    host.wait(lambda h: h.reported and h.reported.version == 3)
    host.want(4, broken)
    host.wait(lambda h: h.reported and h.reported.version == 4)
    assert host.steps == ["rolled-back"]
    assert "not tried again" in host.reported.fault  # type: ignore[union-attr]
    np.testing.assert_allclose(infer(agent)[0], expected(16), rtol=1e-5)


def spoil_golden(bundle: Path, keys: Keys) -> None:
    """Sign a manifest whose golden outputs are wrong."""
    manifest = open_manifest(keys.root, (bundle / "manifest.json").read_bytes())
    rungs = [
        msgspec.structs.replace(
            rung, golden=msgspec.structs.replace(rung.golden, outputs=tuple(v + 9 for v in rung.golden.outputs))
        )
        for rung in manifest.rungs
    ]
    spoiled = msgspec.structs.replace(manifest, rungs=tuple(rungs))
    (bundle / "manifest.json").write_bytes(keys.seal("bundle", spoiled))


def test_commands_run_once_and_a_restart_does_not_stay_executing(
    make_agent: Callable[..., AgentProcess], broker: BrokerProcess, host: ScriptedHost, bundle: Path
) -> None:
    """Restart stuck in "executing" (thin-edge.io#1135, #2150, #2542); and no request fails meanwhile."""
    agent = make_agent(broker.url)
    assert agent.command("install", str(bundle)).returncode == 0
    agent.start()
    infer_soon(agent)
    host.wait(lambda h: h.births)
    failures: list[Exception] = []
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            try:
                infer(agent)
            except Exception as error:
                failures.append(error)

    requests = threading.Thread(target=load)
    requests.start()
    boots = {host.reported.boot}  # type: ignore[union-attr]
    host.command("c1", 1, "restart")
    host.wait(lambda h: h.statuses.get("c1", [])[-1:] and h.statuses["c1"][-1].status == "done")
    host.wait(lambda h: h.reported and h.reported.boot not in boots and h.reported.rung)
    done.set()
    requests.join()
    assert not failures
    assert [each.status for each in host.statuses["c1"]].count("executing") == 1

    host.command("c2", 2, "measure")
    host.wait(lambda h: h.statuses.get("c2", [])[-1:] and h.statuses["c2"][-1].status == "done")
    assert len(host.statuses["c2"][-1].result["measurements"]) == 3
    host.command("c3", 3, "diagnose")
    assert host.wait(lambda h: h.statuses.get("c3", [])[-1:] and h.statuses["c3"][-1].status == "done")
    assert host.statuses["c3"][-1].result["rung"] == "r0-fp32"
    host.command("c4", 4, "rollback")
    host.wait(lambda h: h.statuses.get("c4", [])[-1:] and h.statuses["c4"][-1].status == "failed")
    host.command("c5", 3, "diagnose")
    host.wait(lambda h: h.statuses.get("c5", [])[-1:] and h.statuses["c5"][-1].status == "refused")


def test_refused_messages_are_one_line_each_and_change_nothing(
    make_agent: Callable[..., AgentProcess], broker: BrokerProcess, host: ScriptedHost, bundle: Path, tmp_path: Path
) -> None:
    agent = make_agent(broker.url)
    assert agent.command("install", str(bundle)).returncode == 0
    agent.start()
    infer_soon(agent)
    host.wait(lambda h: h.births)
    strangers = create_keys(tmp_path / "strangers")
    shadow = topics.down(DEVICE, "shadow")
    host.publish(shadow, strangers.seal("command", Desired(device=DEVICE, version=9)))
    host.publish(shadow, b"\x00\xff not json")
    host.publish(shadow, host.keys.seal("command", Desired(device="another", version=9)))
    host.publish(topics.answer(DEVICE, "x"), b"[]")
    host.publish(f"{topics.ROOT}/d/{DEVICE}/dn/b/zz/1", b"?")
    host.wait(lambda h: len(h.texts("fault")) >= 5)
    assert all("\n" not in text and "internal" not in text for text in host.texts("fault"))
    host.want(1, None, pin="r1-fp32")
    host.wait(lambda h: h.reported and h.reported.rung == "r1-fp32")
    np.testing.assert_allclose(infer(agent)[0], expected(8), rtol=1e-5)


def test_it_hears_the_host_again_after_the_broker_was_restarted(
    make_agent: Callable[..., AgentProcess], broker: BrokerProcess, host: ScriptedHost, bundle: Path
) -> None:
    """Agent deaf after a reconnect (thin-edge.io#3462)."""
    agent = make_agent(broker.url)
    assert agent.command("install", str(bundle)).returncode == 0
    agent.start()
    host.wait(lambda h: h.births)
    broker.kill()
    np.testing.assert_allclose(infer_soon(agent)[0], expected(16), rtol=1e-5)
    broker.start()
    births = host.births
    host.wait(lambda h: h.births > births)
    host.want(1, None, pin="r2-fp32")
    host.wait(lambda h: h.reported and h.reported.rung == "r2-fp32")
    host.wait_no_sample_missing()
