from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.cli.units import UnitError, parse_duration_s, parse_memory_mb


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5ms", 0.005), ("1.5s", 1.5), ("20min", 1200.0), ("2h", 7200.0), ("1d", 86400.0), ("250 us", 0.00025), (".5S", 0.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == pytest.approx(seconds)


def test_memory_is_in_mb_of_two_to_the_twenty() -> None:
    assert (parse_memory_mb("120MB"), parse_memory_mb("1.5GB"), parse_memory_mb("512kB")) == (120.0, 1536.0, 0.5)


@pytest.mark.parametrize("text", ["", "5", "ms", "-1s", "0s", "5 parsecs", "1e999s", "nan s"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UnitError, match="such as 5ms"):
        parse_duration_s(text)


@given(st.text(max_size=30))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    with contextlib.suppress(UnitError):
        assert parse_duration_s(text) > 0
