"""Measuring a rung in a fresh process: golden check, latency, peak memory, energy, and one line when it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from onnx import TensorProto, helper

from secateur_agent.bundle.golden import golden_inputs
from secateur_agent.bundle.manifest import Golden, GoldenOutput, TensorSpec
from secateur_agent.profiling.measure import ProfileRequest, ProfileResult


def run(request: ProfileRequest | bytes) -> ProfileResult:
    data = request if isinstance(request, bytes) else msgspec.json.encode(request)
    ended = subprocess.run([sys.executable, "-m", "secateur_agent.profiling.rung"], input=data, capture_output=True)
    assert b"Traceback" not in ended.stderr
    result = msgspec.json.decode(ended.stdout, type=ProfileResult)
    assert (ended.returncode == 0) == result.ok
    assert "\n" not in result.error
    return result


def golden(load: Any, scale: float) -> Golden:
    """What a tiny rung of this scale computes for its golden inputs."""
    blank = Golden(seed=7, low=-2.0, high=2.0, outputs=(0.0,), tolerance=1e-4)
    total = float(golden_inputs(blank, load.inputs)[0].sum()) * scale
    return msgspec.structs.replace(blank, outputs=(total, total))


def test_a_sound_rung_is_measured(tiny_rungs: Any) -> None:
    load = tiny_rungs.make(scale=2.0)
    result = run(ProfileRequest(load=load, golden=golden(load, 2.0), warmup=2, runs=20, energy_per_ms_mw=1500.0))
    assert result.ok, result.error
    assert result.golden_error is not None
    assert result.golden_error <= 1e-4
    assert (result.providers, result.fallback) == (("CPUExecutionProvider",), "")
    measured = result.measurement
    assert measured is not None
    assert measured.rung == "r0-fp32"
    assert 0 < measured.latency_p50_ms <= measured.latency_p95_ms
    assert 20 < measured.peak_rss_mb < 1000
    assert measured.energy_mj == pytest.approx(1.5 * measured.latency_p50_ms)
    assert measured.energy_quality == "estimated"


def test_without_a_power_figure_energy_is_unavailable_not_zero(tiny_rungs: Any) -> None:
    result = run(ProfileRequest(load=tiny_rungs.make(), runs=1, warmup=0))
    assert result.measurement is not None
    assert (result.measurement.energy_mj, result.measurement.energy_quality) == (None, "unavailable")
    assert result.golden_error is None


def test_a_rung_that_computes_something_else_is_not_measured(tiny_rungs: Any) -> None:
    load = tiny_rungs.make(scale=2.0)
    result = run(ProfileRequest(load=load, golden=golden(load, 2.5), runs=1))
    assert not result.ok
    assert result.measurement is None
    assert result.error.startswith("rung r0-fp32: golden outputs differ by ")


def test_a_second_output_is_checked_too_and_named(tiny_rungs: Any) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])],
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("y", "z")],
    )
    outputs = tuple(TensorSpec(name=name, shape=(-1, 4)) for name in ("y", "z"))
    load = tiny_rungs.write(graph, "r0-fp32", 4, outputs=outputs)
    blank = Golden(seed=7, low=-2.0, high=2.0, outputs=(0.0,), tolerance=1e-4)
    x = golden_inputs(blank, load.inputs)[0].ravel().tolist()
    second = GoldenOutput(outputs=tuple(-value for value in x), tolerance=1e-4)
    right = msgspec.structs.replace(blank, outputs=tuple(x), others=(second,))
    assert run(ProfileRequest(load=load, golden=right, runs=1)).ok
    wrong = msgspec.structs.replace(right, others=(msgspec.structs.replace(second, outputs=tuple(x)),))
    result = run(ProfileRequest(load=load, golden=wrong, runs=1))
    assert result.error.startswith("rung r0-fp32: output z: golden outputs differ by ")


def test_outputs_that_are_not_finite_fail_the_golden_check(tiny_rungs: Any) -> None:
    load = tiny_rungs.make(scale=float("inf"))
    result = run(ProfileRequest(load=load, golden=golden(tiny_rungs.make("r1-fp32"), 1.0), runs=1))
    assert not result.ok
    assert "golden outputs differ by inf" in result.error


def test_an_altered_file_is_one_clear_line(tiny_rungs: Any) -> None:
    load = tiny_rungs.make()
    Path(load.path).write_bytes(b"altered")
    result = run(ProfileRequest(load=load))
    assert not result.ok
    assert "altered (its digest is not the manifest's)" in result.error


def test_the_time_limit_ends_the_measurement_with_what_there_is(tiny_rungs: Any) -> None:
    result = run(ProfileRequest(load=tiny_rungs.make(), warmup=100_000, runs=100_000, time_limit_s=0.2))
    assert result.ok
    assert result.measurement is not None


@pytest.mark.parametrize("data", [b"", b"{}", b"[", b"\xff", b'{"load": {"type": "stats"}}'])
def test_a_malformed_request_is_one_clear_line(data: bytes) -> None:
    result = run(data)
    assert not result.ok
    assert result.error.startswith("profile request: ")
