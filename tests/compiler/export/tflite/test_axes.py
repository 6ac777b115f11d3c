"""Where axes lie with channels last."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.export.tflite.axes import MOVED, last_axes, last_axis, last_shape, moved_name, moved_shape


@pytest.mark.parametrize("shape", [(1, 3, 5), (1, 3, 5, 7)])
def test_shapes_axes_and_moved_order_tell_the_same(shape: tuple[int, ...]) -> None:
    rank = len(shape)
    array = np.zeros(shape).transpose(MOVED[rank])
    assert list(array.shape) == moved_shape(shape)
    placed = last_shape(shape)
    assert [size for size in placed if size != 1] == [size for size in moved_shape(shape) if size != 1]
    assert [placed[last_axis(rank, axis)] for axis in range(rank)] == list(shape)
    assert last_axes(rank) == tuple(last_axis(rank, axis) for axis in range(rank))
    assert last_axis(rank, -1) == last_axis(rank, rank - 1)


def test_a_name_tells_how_axes_were_moved() -> None:
    assert moved_name("image", 4) == "image:0,2,3,1"
    assert moved_name("signal", 3) == "signal:0,2,1"
