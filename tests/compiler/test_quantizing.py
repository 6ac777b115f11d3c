"""A rung's int8 form: rounded weights are made up for, and the calibrator that suits best is kept."""

from __future__ import annotations

import numpy as np
import pytest
from tests.compiler.networks import MAKERS, TOPOLOGIES, samples
from tests.compiler.rungs import master_of, rung_of, twin_outputs

from secateur.evaluation import Session, snr_db
from secateur.quantization import CALIBRATORS
from secateur.quantizing import UNCORRECTED, corrected, quantize_rung, stored
from secateur.tuning import measure_statistics
from secateur.writing import program_of


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_channels_of_rounded_weights_have_the_statistics_of_exact_ones(name: str) -> None:
    master = master_of(name)
    rung = rung_of(master, 0.5, "fp32")
    index = master.index(rung.keep)
    wanted = measure_statistics(rung.network, master.calibration)

    def off(network: object) -> float:
        found = measure_statistics(network, master.calibration)  # type: ignore[arg-type]
        return max(float(np.abs(found[t].mean - wanted[t].mean).max()) for t in wanted)

    made = corrected(master, rung.network, index)
    # The output's own table stays as it is.
    assert off(stored(master, made, index)) <= off(stored(master, rung.network, index)) + 1e-6
    assert all((made.weights[w] == rung.network.weights[w]).all() for w in made.weights)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_least_distance_of_all_calibrators_is_taken_and_is_no_worse_than_the_plain_one(name: str) -> None:
    """Scales for each channel and other calibrators are worse than the plain ones at times (microsoft/onnxruntime#11415)."""
    master = master_of(name)
    rung = rung_of(master, 0.5, "int8")
    index, x = master.index(rung.keep), samples(MAKERS[name][1], 128, seed=5)
    made = quantize_rung(master, rung.network, index, "int8", x)
    assert set(made.tried) == {*CALIBRATORS, UNCORRECTED}
    assert made.tried[made.calibrator] == min(made.tried.values()) <= made.tried["min-max"]
    data = program_of(master, made.network, index, "int8", made.ranges).recipe(master.base("int8"))[1]
    expected = twin_outputs(rung.network, x)
    assert snr_db(expected, Session(data).run(x)) > snr_db(expected, Session(rung.data).run(x)) - 1.5


def test_a_float_rung_stays_as_it_is() -> None:
    master = master_of("vgg")
    rung = rung_of(master, 0.5, "fp32")
    made = quantize_rung(master, rung.network, master.index(rung.keep), "fp32", samples(MAKERS["vgg"][1], 8))
    assert made.network is rung.network
    assert made.ranges is None
