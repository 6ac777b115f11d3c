"""From the measured points of one operator to any widths.

What is interpolated is not the time but its ratio to the roofline: the roofline carries the growth with the work, the
ratio changes slowly. Kernels compute whole blocks of channels, so a width off the grid takes at least what the next
multiple takes; how much more, the measured widths off the grid say (in ONNX Runtime up to 1.7 times).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cached_property
from math import exp, log

import numpy as np

from secateur.search.latency_table import Point

Reference = Callable[[int, int], float]
"""From (channels in, channels out) to the roofline's estimate in ms."""


class Surface:
    """Latency of one signature over its two widths; exact at measured points."""

    def __init__(self, points: Sequence[Point], reference: Reference, grid: int) -> None:
        """Prepare the surface.

        Args:
            points: measured.
            reference: what ratios are taken to.
            grid: multiples of this run fast.
        """
        self._exact = {(p.channels_in, p.channels_out): p.p50_ms for p in points}
        self._reference = reference
        self._grid = grid

    def latency_ms(self, channels_in: int, channels_out: int) -> float:
        """Return the latency at these widths."""
        exact = self._exact.get((channels_in, channels_out))
        if exact is not None:
            return exact
        padded_in, steps_in = self._padded(channels_in, 0)
        padded_out, steps_out = self._padded(channels_out, 1)
        ratio = self.ratio(padded_in, padded_out)
        return ratio * self._reference(padded_in, padded_out) * self.off_grid ** (steps_in + steps_out)

    def ratio(self, channels_in: int, channels_out: int) -> float:
        """Return measured ÷ roofline at widths on the grid, interpolated."""
        (low_in, high_in, share_in), (low_out, high_out, share_out) = (
            _between(self._knots[0], channels_in),
            _between(self._knots[1], channels_out),
        )
        total = 0.0
        for knot_in, weight_in in ((low_in, 1 - share_in), (high_in, share_in)):
            for knot_out, weight_out in ((low_out, 1 - share_out), (high_out, share_out)):
                if weight_in * weight_out > 0:
                    total += weight_in * weight_out * self._log_ratio(knot_in, knot_out)
        return exp(total)

    @cached_property
    def off_grid(self) -> float:
        """How much longer a width off the grid takes than the next multiple, for each of the two axes; at least 1."""
        found = [1.0]
        for (channels_in, channels_out), measured in self._exact.items():
            (padded_in, steps_in), (padded_out, steps_out) = self._padded(channels_in, 0), self._padded(channels_out, 1)
            if steps_in + steps_out:
                on_grid = self.ratio(padded_in, padded_out) * self._reference(padded_in, padded_out)
                found.append((measured / on_grid) ** (1 / (steps_in + steps_out)))
        return max(1.0, float(np.median(found[1:] or found)))

    @cached_property
    def _knots(self) -> tuple[list[int], list[int]]:
        """Measured widths of each axis between which may be interpolated: those on the grid; all if none is."""
        found = []
        for axis in (0, 1):
            widths = sorted({pair[axis] for pair in self._exact})
            regular = [width for width in widths if width % self._grid == 0 or self._fixed(axis, width)]
            found.append(regular or widths)
        return found[0], found[1]

    def _fixed(self, axis: int, width: int) -> bool:
        """Whether a width off the grid is the only one of its axis, as the three channels of a picture are."""
        return len({pair[axis] for pair in self._exact}) == 1

    def _padded(self, width: int, axis: int) -> tuple[int, int]:
        """A width rounded up to the grid, and whether it was."""
        if width % self._grid == 0 or width in self._knots[axis]:
            return width, 0
        above = -(-width // self._grid) * self._grid
        widest = self._knots[axis][-1]
        return (min(above, widest) if width <= widest else above), 1

    def _log_ratio(self, channels_in: int, channels_out: int) -> float:
        """At a crossing of knots: measured, or from the measured points around, the nearer the heavier."""
        exact = self._exact.get((channels_in, channels_out))
        if exact is not None:
            return log(exact / self._reference(channels_in, channels_out))
        weights, values = [], []
        for (a, b), measured in self._exact.items():
            if a in self._knots[0] and b in self._knots[1]:
                distance = log(a / channels_in) ** 2 + log(b / channels_out) ** 2
                weights.append(1 / (distance + 1e-9))
                values.append(log(measured / self._reference(a, b)))
        if not values:  # no point lies on knots of both axes: all of them count the same
            return float(np.mean([log(t / self._reference(a, b)) for (a, b), t in self._exact.items()]))
        return float(np.average(values, weights=weights))


def _between(knots: Sequence[int], width: int) -> tuple[int, int, float]:
    """The knots around a width, and how far (0 … 1, in the logarithm) it lies between them; beyond the ends the end."""
    place = bisect_left(knots, width)
    if place == 0 or place == len(knots):
        knot = knots[0] if place == 0 else knots[-1]
        return knot, knot, 0.0
    low, high = knots[place - 1], knots[place]
    return low, high, log(width / low) / log(high / low)
