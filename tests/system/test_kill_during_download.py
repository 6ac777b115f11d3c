"""SIGKILL of every process of the stack, one at a time, in the middle of a download."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.bundle_factory import make_bundle
from tests.system.stack import Stack, expected, infer, infer_soon
from tests.system.witness import Witness

from secateur.bundle.keys import Keys

CHUNK_KIB = 16
BALLAST_BYTES = 1_600_000
KILL_AFTER_CHUNKS = 25


def verified_chunks(part: Path, blob: bytes) -> set[int]:
    """The chunks of a blob that lie in its partial file."""
    data, size = part.read_bytes(), CHUNK_KIB << 10
    starts = range(0, len(blob), size)
    return {i for i, start in enumerate(starts) if data[start : start + size] == blob[start : start + size]}


@pytest.mark.parametrize("victim", ["agent", "worker", "host", "broker"])
def test_after_a_kill_the_download_goes_on_from_its_verified_chunks_and_no_telemetry_is_lost(
    victim: str, make_stack: Callable[..., Stack], witness: Witness, keys: Keys, tmp_path: Path
) -> None:
    """Progress lost by an OOM kill (balena-supervisor#1575)."""
    bundle = make_bundle(tmp_path, keys, name="big", widths=(16, 4), ballast_bytes=BALLAST_BYTES)
    base = (bundle / "base-fp32.safetensors").read_bytes()
    sha256 = hashlib.sha256(base).hexdigest()
    stack = make_stack("--rate", "0.5")
    np.testing.assert_allclose(infer_soon(stack.agent)[0], expected(16), rtol=1e-5)

    manifest_sha256 = stack.push(bundle, CHUNK_KIB)
    part = stack.agent.state / "store" / "partial" / f"{sha256}.part"
    stack.eventually("download", lambda: part.exists() and len(verified_chunks(part, base)) >= KILL_AFTER_CHUNKS)
    verified = verified_chunks(part, base)
    total = -(-len(base) // (CHUNK_KIB << 10))
    assert len(verified) < total, "the download was over before the kill"
    asked_before = len(witness.asked)
    stack.kill_and_restart(victim)

    np.testing.assert_allclose(infer_soon(stack.agent)[0], expected(16), rtol=1e-5)  # while the download goes on
    stack.wait_committed(manifest_sha256)
    asked_again = {index for digest, index in witness.asked[asked_before:] if digest == sha256}
    assert not asked_again & verified
    if victim == "host":  # it does not broadcast again, so the device has to ask
        assert asked_again
    np.testing.assert_allclose(infer(stack.agent, "big")[0], expected(16), rtol=1e-5)

    stored = sum(map(len, stack.stored().values()))
    stack.eventually("more telemetry", lambda: sum(map(len, stack.stored().values())) > stored + 2)
    stack.assert_no_sample_is_lost_or_stored_twice(witness.acknowledged)
