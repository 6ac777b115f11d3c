"""Explicit pads are TFLite's own kinds of padding exactly where they mean the same."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from secateur.export.tflite import schema
from secateur.export.tflite.padding import as_image, implied, pads_of_image


def test_known_cases() -> None:
    assert implied((0, 0, 0, 0), (8, 8), (3, 3), (1, 1), (1, 1)) == schema.VALID
    assert implied((1, 1, 1, 1), (8, 8), (3, 3), (1, 1), (1, 1)) == schema.SAME
    assert implied((1, 1, 1, 1), (9, 9), (3, 3), (2, 2), (1, 1)) == schema.SAME
    assert implied((1, 1, 1, 1), (8, 8), (3, 3), (2, 2), (1, 1)) is None  # SAME would pad the end alone
    assert implied((2, 2, 2, 2), (8, 8), (3, 3), (1, 1), (2, 2)) == schema.SAME


@given(st.integers(4, 12), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.integers(0, 2))
def test_same_is_what_gives_one_result_for_each_stride(
    size: int, kernel: int, stride: int, dilation: int, begin: int, end: int
) -> None:
    if implied((begin, end), (size,), (kernel,), (stride,), (dilation,)) == schema.SAME:
        x, weight = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel)
        found = F.conv1d(F.pad(x, (begin, end)), weight, stride=stride, dilation=dilation)
        assert found.shape[2] == int(np.ceil(size / stride))
        assert end - begin in (0, 1)


def test_a_signal_is_an_image_of_height_one() -> None:
    assert as_image((2,), 1) == (1, 2)
    assert as_image((2, 3), 1) == (2, 3)
    assert pads_of_image((1, 2)) == (0, 1, 0, 2)
    assert pads_of_image((1, 2, 3, 4)) == (1, 2, 3, 4)
