"""A batch of a pack in a fresh process: times, and one line for what cannot be timed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from secateur_agent.profiling.batch_request import BatchRequest, BatchResult
from secateur_agent.profiling.pack import PackHeader, encode_pack, packed_file


def pack_of(tiny_rungs: Any, folder: Path, spoiled: bool = False) -> Path:
    loads = [tiny_rungs.make(f"r{n}-fp32", layers=n) for n in (1, 2)]
    files = [Path(load.path).read_bytes() for load in loads]
    if spoiled:
        files.append(b"no model")
    described = [packed_file(data, loads[0].inputs, loads[0].outputs) for data in files]
    header = PackHeader(
        measurement="m", runtime="onnxruntime", precision="fp32", rounds=2, round_ms=0.1, files=tuple(described)
    )
    path = folder / "pack"
    path.write_bytes(encode_pack(header, files))
    return path


def run(request: BatchRequest | bytes) -> BatchResult:
    data = request if isinstance(request, bytes) else msgspec.json.encode(request)
    ended = subprocess.run([sys.executable, "-m", "secateur_agent.profiling.batch"], input=data, capture_output=True)
    assert b"Traceback" not in ended.stderr
    result = msgspec.json.decode(ended.stdout, type=BatchResult)
    assert (ended.returncode == 0) == result.ok
    assert "\n" not in result.error
    return result


def test_files_are_timed_and_one_that_the_runtime_refuses_has_an_error(tiny_rungs: Any, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    pack = pack_of(tiny_rungs, tmp_path, spoiled=True)
    result = run(BatchRequest(pack=str(pack), indexes=(2, 1, 0), scratch=str(scratch)))
    assert result.ok, result.error
    assert [timing.file for timing in result.timings] == [0, 1, 2]
    for timing in result.timings[:2]:
        assert timing.p50_ms is not None
        assert timing.p95_ms is not None
        assert 0 < timing.p50_ms <= timing.p95_ms
    assert result.timings[2].p50_ms is None
    assert "refuses the file" in result.timings[2].error
    assert result.machine
    assert list(scratch.iterdir()) == []


def test_a_damaged_pack_or_request_is_one_line(tiny_rungs: Any, tmp_path: Path) -> None:
    pack = pack_of(tiny_rungs, tmp_path)
    pack.write_bytes(pack.read_bytes()[:-1])
    assert "its header describes" in run(BatchRequest(pack=str(pack), indexes=(0,), scratch=str(tmp_path))).error
    assert run(b"{").error.startswith("batch request: ")
