"""Times are kept over a restart, and only for the measurement that they belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur_agent.bundle.manifest import TensorSpec
from secateur_agent.kept_timings import KeptTimings
from secateur_agent.profiling.pack import PackHeader, packed_file
from secateur_agent.protocol.timings import FileTiming

ONE, TWO = "1" * 64, "2" * 64
TIMED = FileTiming(file=0, p50_ms=1.0, p95_ms=2.0)
X = TensorSpec(name="x", shape=(-1, 4))


def header(**changes: Any) -> PackHeader:
    fields = {"measurement": "m", "runtime": "onnxruntime", "precision": "fp32", "files": (packed_file(b"f", [X], [X]),)}
    return PackHeader(**{**fields, **changes})


def test_times_and_beginnings_survive_a_restart_until_another_measurement_begins(tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    kept = KeptTimings(path)
    kept.begin(header(), "1.23")
    kept.note_begun([ONE, TWO])
    kept.note_begun([TWO])
    kept.put({ONE: TIMED})
    again = KeptTimings(path)
    again.begin(header(), "1.23")
    assert (again.of(ONE), again.of(TWO)) == (TIMED, None)
    assert (again.begun(ONE), again.begun(TWO)) == (0, 2)
    for other, version in ((header(measurement="n"), "1.23"), (header(threads=2), "1.23"), (header(), "1.24")):
        forgotten = KeptTimings(path)
        forgotten.begin(other, version)
        assert forgotten.of(ONE) is None
        assert forgotten.begun(TWO) == 0


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=200))
def test_a_damaged_file_is_started_anew(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("kept") / "timings.json"
    path.write_bytes(data)
    kept = KeptTimings(path)
    kept.begin(header(), "1.23")
    kept.put({ONE: TIMED})
    assert kept.of(ONE) == TIMED
