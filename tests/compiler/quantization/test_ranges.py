"""Ranges cover what calibration saw, and bad calibration data are told."""

from __future__ import annotations

import numpy as np
import pytest
from tests.compiler.networks import MAKERS, TOPOLOGIES, network_of, samples
from tests.compiler.rungs import twin_outputs

from secateur.ir import SecateurError
from secateur.quantization import measure_ranges


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_ranges_are_those_of_all_batches(name: str) -> None:
    network, x = network_of(name), samples(MAKERS[name][1], 300)
    ranges = measure_ranges(network, x)
    assert set(ranges) == set(network.shapes)
    outputs = twin_outputs(network, x)
    low, high = ranges[next(iter(network.outputs))]
    np.testing.assert_allclose([low, high], [outputs.min(), outputs.max()], rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_calibration_sample_that_is_no_number_is_told_in_one_line(value: float) -> None:
    network, x = network_of("vgg"), samples(MAKERS["vgg"][1], 8)
    x[3, 0, 0, 0] = value
    with pytest.raises(SecateurError, match="inputs hold a value that is infinite or not") as told:
        measure_ranges(network, x)
    assert "\n" not in str(told.value)
