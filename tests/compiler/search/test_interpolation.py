"""Between measured widths: exact at points, growing with the work, never faster off the grid than on it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.search.interpolation import Surface
from secateur.search.latency_table import Point

GRID = 8
WIDTHS = (8, 16, 32, 64)


def reference(a: int, b: int) -> float:
    """A roofline: work at a peak rate, and a fixed cost."""
    return a * b * 1e-5 + 1e-3


def device(a: int, b: int) -> float:
    """What a device takes: blocks of eight channels, twice the roofline; 1.5 times as long beside a multiple."""
    beside = (1.5 if a % GRID else 1.0) * (1.5 if b % GRID else 1.0)
    return 2 * reference(-(-a // GRID) * GRID, -(-b // GRID) * GRID) * beside


def surface(pairs: list[tuple[int, int]]) -> Surface:
    points = [Point(channels_in=a, channels_out=b, p50_ms=device(a, b), p95_ms=2 * device(a, b)) for a, b in pairs]
    return Surface(points, reference, GRID)


FULL = [(a, b) for a in WIDTHS for b in WIDTHS]
BESIDE = [(33, 33), (31, 31)]


@pytest.mark.parametrize("pair", FULL + BESIDE)
def test_it_is_exact_at_measured_points(pair: tuple[int, int]) -> None:
    assert surface(FULL + BESIDE).latency_ms(*pair) == device(*pair)


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_device_that_is_regular_is_met_everywhere(a: int, b: int) -> None:
    assert surface(FULL + BESIDE).latency_ms(a, b) == pytest.approx(device(a, b), rel=1e-6)


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 7), st.integers(0, 7))
def test_a_width_off_the_grid_is_never_faster_than_the_multiple_above(i: int, j: int, less: int, less_out: int) -> None:
    found = surface(FULL)  # nothing off the grid was measured: it takes as long as the next multiple, not less
    a, b = GRID * i, GRID * j
    assert found.latency_ms(a - less, b - less_out) >= found.latency_ms(a, b) * (1 - 1e-9)


@given(st.integers(1, 20), st.integers(1, 20))
def test_wider_takes_longer(i: int, j: int) -> None:
    found = surface(FULL)
    a, b = GRID * i, GRID * j
    assert found.latency_ms(a + GRID, b) > found.latency_ms(a, b)
    assert found.latency_ms(a, b + GRID) > found.latency_ms(a, b)


def test_an_axis_with_one_width_is_no_cliff() -> None:
    """The three channels of a picture are off the grid, and yet the only width there is."""
    found = surface([(3, 8), (3, 16), (3, 32)])
    assert found.off_grid == 1.0
    assert found.latency_ms(3, 16) < found.latency_ms(3, 24) < found.latency_ms(3, 32)


def test_points_on_a_diagonal_suffice_for_what_keeps_its_width() -> None:
    found = surface([(w, w) for w in WIDTHS])
    assert found.latency_ms(16, 16) < found.latency_ms(24, 24) < found.latency_ms(32, 32)
