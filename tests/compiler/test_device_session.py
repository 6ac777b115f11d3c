"""What a device says of its times is read or refused; `tests/system/test_measure_device.py` has the whole session."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.device_session import read_timings
from secateur.device_tables import TimedFile, UnderWay

DIGESTS = ["a" * 64, "b" * 64]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def said(*timings: dict[str, Any]) -> dict[str, Any]:
    return {"total": 2, "runtime_version": "1.23.2", "timings": list(timings)}


def test_times_go_to_the_file_in_their_place() -> None:
    good, bad = {"file": 1, "p50_ms": 1.0, "p95_ms": 2.0, "slowed": True}, {"file": 0, "error": "not enough memory"}
    _, found = read_timings(said(good, bad, {"file": 7, "p50_ms": 1.0, "p95_ms": 1.0}), DIGESTS)
    assert found[DIGESTS[1]] == TimedFile(p50_ms=1.0, p95_ms=2.0, slowed=True)
    assert found[DIGESTS[0]] == TimedFile(error="not enough memory")
    assert len(found) == 2
    _, found = read_timings(said({"file": 0}), DIGESTS)
    assert found[DIGESTS[0]].error == "no time was given"


@pytest.mark.parametrize("p50_ms", [0.0, -1.0, 1e-12, 1e12, "fast"])
def test_an_absurd_time_is_refused(p50_ms: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        read_timings(said({"file": 0, "p50_ms": p50_ms, "p95_ms": 1.0}), DIGESTS)


@settings(max_examples=200, deadline=None)
@given(
    result=st.dictionaries(st.sampled_from(["v", "total", "timings", "runtime_version", "slowed", "machine"]), JSON)
    | st.lists(st.dictionaries(st.sampled_from(["file", "p50_ms", "p95_ms", "slowed", "error"]), JSON), max_size=4).map(
        lambda timings: {"total": 2, "runtime_version": "1", "timings": timings}
    )
)
def test_whatever_a_device_says_is_read_or_refused(result: dict[str, Any]) -> None:
    try:
        _, files = read_timings(result, DIGESTS)
    except msgspec.ValidationError:
        return
    kept = UnderWay(measurement="m", rounds=1, files=files)
    assert msgspec.json.decode(msgspec.json.encode(kept), type=UnderWay) == kept
