"""Whatever comes over the wire: one clear line at most, and the device serves on."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.bundle_factory import ToyRecut, make_bundle, make_recut, toy_base, toy_rung
from tests.embedded_broker import BrokerProcess
from tests.system.conftest import DEVICE, AgentProcess
from tests.system.scripted_host import ScriptedHost
from tests.system.stack import Stack, expected, infer, infer_soon
from tests.system.witness import Witness

from secateur.bundle.keys import Keys, create_keys
from secateur_agent.bundle.manifest import Recut
from secateur_agent.bundle.recipe import encode_recipe
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import Desired

PAYLOADS = [
    b"",
    b"\x00",
    b"\xff\xfe\xfd",
    b"{",
    b"[]",
    b"null",
    b"{}",
    b'{"v": 99}',
    b'{"v": 1, "boot": "x", "seq": 1e400}',
    b'{"v": 1, "boot": "../../x", "seq": -1}',
    b'{"role": "command", "body": "", "signatures": []}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'"' + b"x" * 300_000 + b'"',
    *(random.Random(7).randbytes(size) for size in (1, 10, 100, 1_000, 70_000)),
]


def test_malformed_messages_on_every_topic_are_one_line_each_and_the_agent_lives(
    installed: Callable[..., AgentProcess], broker: BrokerProcess, host: ScriptedHost
) -> None:
    agent = installed(broker.url)
    agent.start()
    first = host.wait(lambda h: h.births and h.reported)
    assert first
    boot = first.boot
    some = hashlib.sha256(b"some blob").hexdigest()
    kinds = [
        "shadow",
        "ack",
        "answer/x",
        "cmd/x",
        f"b/{some}/0",
        f"b/{some}/-1",
        f"b/{some}",
        "b/zz/1",
        "nonsense",
        "ack/more",
    ]
    for kind in kinds:
        for payload in PAYLOADS:
            host.publish(f"{topics.ROOT}/d/{DEVICE}/dn/{kind}", payload)
    host.want(1, None, pin="r2-fp32")
    reported = host.wait(lambda h: h.reported if h.reported and h.reported.rung == "r2-fp32" else None)
    assert reported is not None
    assert reported.boot == boot, "the agent has started again"
    np.testing.assert_allclose(infer(agent)[0], expected(4), rtol=1e-5)
    faults = host.texts("fault")
    assert faults
    assert all("\n" not in text and "internal" not in text and "Traceback" not in text for text in faults)
    assert all(len(text) < 500 for text in faults)
    assert agent.stop() == 0


def test_a_corrupt_chunk_is_refused_and_the_download_completes(
    make_stack: Callable[..., Stack], witness: Witness, keys: Keys, tmp_path: Path
) -> None:
    """Somebody else publishes on the topic of a chunk."""
    bundle = make_bundle(tmp_path, keys, name="big", widths=(16,), ballast_bytes=400_000)
    base = (bundle / "base-fp32.safetensors").read_bytes()
    sha256 = hashlib.sha256(base).hexdigest()
    stack = make_stack("--rate", "0.2")
    infer_soon(stack.agent)
    manifest_sha256 = stack.push(bundle)
    last = (len(base) - 1) // (16 << 10)
    witness.wait("download", lambda w: w.reported and w.reported.install == "fetching")
    for data in (b"not what was signed", bytes(16 << 10), b""):
        witness.publish(topics.chunk(sha256, last), data)
    witness.publish(topics.chunk(sha256, last + 1), b"beyond the end")
    witness.wait("refusal", lambda w: sum("chunk refused" in text for text in w.texts("fault")) >= 2)
    stack.wait_committed(manifest_sha256)
    np.testing.assert_allclose(infer_soon(stack.agent, "big")[0], expected(16), rtol=1e-5)


def test_a_desired_shadow_with_a_wrong_signature_changes_nothing(
    installed: Callable[..., AgentProcess], broker: BrokerProcess, host: ScriptedHost, tmp_path: Path
) -> None:
    agent = installed(broker.url)
    agent.start()
    host.wait(lambda h: h.births)
    desired = Desired(device=DEVICE, version=9, pin="r2-fp32")
    right = host.keys.seal("command", desired)
    assert b'"version":9' in right
    wrong = [
        create_keys(tmp_path / "strangers").seal("command", desired),
        host.keys.seal("recut", desired),  # a key of ours, for something else
        right.replace(b'"version":9', b'"version":8'),
        host.keys.seal("command", Desired(device="another", version=9, pin="r2-fp32")),
    ]
    for payload in wrong:
        host.publish(topics.down(DEVICE, "shadow"), payload, retain=True)
    host.wait(lambda h: len(h.texts("fault")) >= 4)
    assert host.reported is not None
    assert (host.reported.version, host.reported.rung or "r0-fp32") == (0, "r0-fp32")
    assert not (agent.state / "desired.json").exists()
    host.publish(topics.down(DEVICE, "shadow"), right, retain=True)
    host.wait(lambda h: h.reported and h.reported.version == 9 and h.reported.rung == "r2-fp32")


def test_a_pin_to_an_unknown_rung_is_one_event_and_the_governor_chooses(
    installed: Callable[..., AgentProcess], broker: BrokerProcess, host: ScriptedHost
) -> None:
    agent = installed(broker.url)
    agent.start()
    host.wait(lambda h: h.reported and h.reported.rung == "r0-fp32")
    host.want(1, None, pin="r7-fp32")
    host.wait(lambda h: any("r7-fp32" in event.text for event in h.events))
    host.wait(lambda h: h.reported and h.reported.version == 1 and h.reported.rung == "r0-fp32")
    samples = len(host.stored.get(host.reported.boot, []))  # type: ignore[union-attr]
    host.wait(lambda h: len(h.stored.get(h.reported.boot, [])) >= samples + 5)  # type: ignore[union-attr]
    (told,) = [event for event in host.events if "r7-fp32" in event.text]
    assert "not in the ladder" in told.text
    np.testing.assert_allclose(infer(agent)[0], expected(16), rtol=1e-5)


@pytest.mark.parametrize("fault", ["another key", "a program of its own", "another bundle"])
def test_a_recut_rung_that_the_online_key_may_not_ship_is_refused_and_the_device_serves_on(
    fault: str, installed: Callable[..., AgentProcess], broker: BrokerProcess, host: ScriptedHost, tmp_path: Path
) -> None:
    """A stolen online key must not ship foreign weights."""
    agent = installed(broker.url)
    agent.start()
    host.wait(lambda h: h.reported and h.reported.rung == "r0-fp32")
    bundle = make_bundle(tmp_path, host.keys)
    good = make_recut(bundle, host.keys, width=12)
    recut = Recut(bundle=host.model(bundle).manifest.sha256, rung=good.entry)
    keys, recipe = host.keys, good.recipe
    if fault == "another key":
        keys = create_keys(tmp_path / "strangers")
    elif fault == "another bundle":
        recut = Recut(bundle=hashlib.sha256(b"another").hexdigest(), rung=good.entry)
    else:
        recipe = encode_recipe(toy_rung(toy_base(), 12).recipe)
        entry = msgspec.structs.replace(good.entry, recipe=hashlib.sha256(recipe).hexdigest())
        recut = Recut(bundle=recut.bundle, rung=entry)
    bad = ToyRecut(recut.rung, recipe, keys.seal("recut", recut), good.model)
    host.want(1, None, recuts=(host.recut(bad),))
    host.publish(topics.repair(DEVICE, recut.rung.recipe, 0), recipe)
    host.wait(lambda h: any("is not used" in text for text in h.texts("fault")))
    assert [text for text in host.texts("fault") if "internal" in text or "\n" in text] == []
    assert host.reported is not None
    assert host.reported.rungs == ("r0-fp32", "r1-fp32", "r2-fp32")
    np.testing.assert_allclose(infer(agent)[0], expected(16), rtol=1e-5)

    host.want(2, None, recuts=(host.recut(bad), host.recut(good)), pin="r9-fp32")
    host.publish(topics.repair(DEVICE, good.entry.recipe, 0), good.recipe)
    host.wait(lambda h: h.reported and h.reported.rung == "r9-fp32")
    np.testing.assert_allclose(infer(agent)[0], expected(12), rtol=1e-5)
