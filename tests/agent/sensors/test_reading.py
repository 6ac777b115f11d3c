from __future__ import annotations

import math

import pytest

from secateur_agent.protocol.messages import Reading
from secateur_agent.sensors.reading import attempt, measured, sound


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_not_a_measurement(value):
    reading = measured(value, "mW", "x")
    assert (reading.value, reading.quality) == (None, "unavailable")


@pytest.mark.parametrize(
    "reading",
    [Reading(None, "mW", "x", "measured"), Reading(0.0, "mW", "x", "unavailable"), Reading(None, "", "", "estimated")],
)
def test_careless_reading_becomes_unavailable_with_a_reason(reading):
    assert sound(reading).value is None
    assert sound(reading).quality == "unavailable"
    assert sound(reading).note


def test_error_becomes_the_note():
    def refuse() -> float:
        raise OSError(95, "Operation not supported", "/sys/x")

    assert attempt("°C", "/sys/x", refuse) == Reading(None, "°C", "/sys/x", "unavailable", "Operation not supported")
