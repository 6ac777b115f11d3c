"""Files are timed in turns, as the worker runs them: the bookkeeping, and an order that no noise hides."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.compiler.rungs import master_of, rung_of

from secateur.evaluation import describe_machine, runtime_version, time_interleaved
from secateur.ir import Signature, SizedOperator
from secateur.measure import probe_for
from secateur.measuring import probe_file
from secateur_agent.inference.onnxruntime_backend import session_options


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_every_file_gets_a_minimum_of_every_round(precision: str) -> None:
    master = master_of("resnet-b")
    files = [rung_of(master, share, precision).data for share in (1, 0.5)]
    found = time_interleaved(files, precision, rounds=4, round_ms=0.1)
    assert len(found) == 2
    for timing in found:
        assert len(timing.minima_ms) == 4
        assert 0 < min(timing.minima_ms) <= timing.p50_ms <= max(timing.minima_ms)
        assert timing.p95_ms >= timing.p50_ms


def test_forty_times_the_work_is_seen() -> None:
    plane = Signature("Conv", (32, 32), (32, 32), (3, 3), (1, 1), groups="dense")
    probe = probe_for(SizedOperator(plane, 32, 32))
    assert probe is not None
    once, often = time_interleaved([probe_file(probe.build(n), "fp32") for n in (1, 40)], "fp32", rounds=3)
    assert often.p50_ms > 5 * once.p50_ms


def test_sessions_are_those_of_the_worker() -> None:
    options = session_options("int8", 3)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)


def test_the_machine_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(
        "processor : 0\nmodel name : Abacus 9\nflags : fpu avx2 avx512_vnni\n\nmodel name : other\n"
    )
    assert "Abacus 9" in describe_machine(tmp_path / "cpuinfo")
    assert "(AVX2, VNNI)" in describe_machine(tmp_path / "cpuinfo")
    assert "processor of unknown model" in describe_machine(tmp_path / "none") or describe_machine(tmp_path / "none")
    assert len(describe_machine().splitlines()) == 1
    assert runtime_version()[0].isdigit()
