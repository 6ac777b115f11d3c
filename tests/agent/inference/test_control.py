"""The control channel: what is not a message is refused, and importing it costs the supervisor no numpy."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur_agent.inference.control import (
    AskStats,
    ControlError,
    Loaded,
    LoadFailed,
    Reply,
    Request,
    StatsReply,
    decode_line,
    encode_line,
)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_arbitrary_bytes_raise_only_the_own_error(line: bytes) -> None:
    for kind in (Request, Reply):
        with pytest.raises(ControlError, match=r"\A[^\n]*\Z"):
            decode_line(line, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (AskStats(), Request),
        (Loaded(rung="r0-int8", build_ms=1.5, drain_ms=0.0, providers=("CPUExecutionProvider",)), Reply),
        (LoadFailed(rung="r0-int8", error="no"), Reply),
        (StatsReply(requests=3, failed_requests=1, in_flight=0, rung="", latency_p50_ms=None, rss_mb=40.5), Reply),
    ],
)
def test_messages_come_back_as_they_were_sent(message: object, kind: object) -> None:
    line = encode_line(message)  # type: ignore[arg-type]
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_line(line, kind) == message  # type: ignore[arg-type]


def test_an_overlong_line_is_refused() -> None:
    with pytest.raises(ControlError, match="more than"):
        decode_line(b" " * (2 << 20), Request)  # type: ignore[arg-type]


@pytest.mark.parametrize("module", ["secateur_agent.inference.control", "secateur_agent.profiling.measure"])
def test_the_supervisor_side_imports_neither_numpy_nor_a_runtime(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('numpy', 'onnxruntime', 'waitress') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
