"""What may be asked of a measurement."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from secateur_agent.profiling.measure import ProfileRequest, ProfileResult


def test_requests_and_results_come_back_as_they_were_sent(tiny_rungs: Any) -> None:
    request = ProfileRequest(load=tiny_rungs.make(), energy_per_ms_mw=1200.0)
    assert msgspec.json.decode(msgspec.json.encode(request), type=ProfileRequest) == request
    result = ProfileResult(ok=False, error="no")
    assert msgspec.json.decode(msgspec.json.encode(result), type=ProfileResult) == result


@pytest.mark.parametrize("changes", [{"runs": 0}, {"warmup": -1}, {"time_limit_s": 0}, {"energy_per_ms_mw": -1}])
def test_what_makes_no_sense_is_refused(tiny_rungs: Any, changes: dict[str, Any]) -> None:
    request = {**msgspec.to_builtins(ProfileRequest(load=tiny_rungs.make())), **changes}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(request, ProfileRequest)
