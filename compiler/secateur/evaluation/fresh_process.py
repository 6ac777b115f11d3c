"""Measures a model file on this machine as the agent does on a device: in a fresh process, by the agent's own module."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from secateur.ir import SecateurError
from secateur_agent.bundle.manifest import RungEntry, TensorSpec
from secateur_agent.inference.control import LoadRung
from secateur_agent.profiling.measure import ProfileRequest, ProfileResult
from secateur_agent.protocol.messages import RungMeasurement
from secateur_profiles import Profile

RUNS, MIN_TIME_S, TIME_LIMIT_S = 30, 0.4, 60.0


def measure_rung(
    data: bytes, entry: RungEntry, inputs: list[TensorSpec], outputs: list[TensorSpec], profile: Profile
) -> RungMeasurement:
    """Return latency, peak memory of a fresh worker, and energy estimated from the measured latency.

    Args:
        data: the model file.
        entry: of the rung.
        inputs: of the network; ``outputs`` too.
        profile: of this machine: threads, and the power that busy cores draw.

    Raises:
        SecateurError: if the file cannot be run here.
    """
    with tempfile.TemporaryDirectory(prefix="secateur-measure-") as folder:
        path = Path(folder) / "rung.model"
        path.write_bytes(data)
        load = LoadRung(
            rung=entry.id,
            path=str(path),
            sha256=entry.file_sha256,
            precision=entry.precision,
            name="measured",
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            runtime=profile.runtime.name,
            threads=profile.runtime.threads,
        )
        request = ProfileRequest(
            load=load,
            golden=entry.golden,
            runs=RUNS,
            min_time_s=MIN_TIME_S,
            time_limit_s=TIME_LIMIT_S,
            energy_per_ms_mw=profile.inference_mw,
        )
        command = [sys.executable, "-m", "secateur_agent.profiling.rung"]
        try:
            ended = subprocess.run(
                command, input=msgspec.json.encode(request), capture_output=True, timeout=2 * TIME_LIMIT_S, check=False
            )
            result = msgspec.json.decode(ended.stdout, type=ProfileResult)
        except (subprocess.TimeoutExpired, msgspec.MsgspecError):
            raise SecateurError(
                f"{entry.id}: cannot be measured on this machine; compile with --no-verify-latency"
            ) from None
    if result.measurement is None:
        raise SecateurError(f"{entry.id}: cannot be measured on this machine: {result.error}")
    return result.measurement
