"""The gate refuses a rung that is not what it should be."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.compiler.networks import MAKERS, samples
from tests.compiler.rungs import MadeRung, master_of, rung_of, twin_outputs

from secateur.assembly import tensor_specs
from secateur.evaluation import Session, check_rung, golden_check, snr_db
from secateur.ir import PRECISIONS
from secateur.writing import file_of
from secateur_agent.bundle.golden import golden_error, golden_inputs

X = samples(MAKERS["resnet-b"][1], 64)


def corrupted(rung: MadeRung) -> bytes:
    """The rung's file with the rows of one weight turned round."""
    model = onnx.load_from_string(rung.data)
    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1].copy(), tensor.name))
    return model.SerializeToString()


@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_a_corrupted_rung_is_refused_and_the_right_one_is_not(precision: str) -> None:
    master = master_of("resnet-b")
    rung = rung_of(master, 0.5, precision)
    ordinary = file_of(rung.network, master.calibration, precision) if PRECISIONS[precision].integer else None
    reference = twin_outputs(rung.network, X)
    assert check_rung(rung.data, reference, X, ordinary).reason == ""
    reason = check_rung(corrupted(rung), reference, X, ordinary).reason
    assert "SNR" in reason
    assert "dB" in reason
    assert "\n" not in reason


@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_a_rung_that_gives_no_numbers_is_refused(precision: str) -> None:
    master = master_of("resnet-b")
    rung = rung_of(master, 0.5, precision)
    model = onnx.load_from_string(rung.data)
    name = model.graph.output[0].name
    next(node for node in model.graph.node if node.output[0] == name).output[0] = "finite"
    steps = [("Abs", "finite", "size"), ("Neg", "size", "negative"), ("Log", "negative", name)]
    model.graph.node.extend(onnx.helper.make_node(op, [x], [y]) for op, x, y in steps)
    ordinary = file_of(rung.network, master.calibration, precision) if PRECISIONS[precision].integer else None
    result = check_rung(model.SerializeToString(), twin_outputs(rung.network, X), X, ordinary)
    assert np.isnan(result.snr_db)
    assert "SNR nan dB" in result.reason


@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_the_golden_check_holds_for_its_own_file_and_not_for_another_rungs(precision: str) -> None:
    master = master_of("resnet-b")
    rung, other = rung_of(master, 1.0, precision), rung_of(master, 0.25, precision)
    specs = tensor_specs(master.network)[0]
    golden = golden_check(rung.data, specs, 3, -2.0, 2.0, PRECISIONS[precision].tolerance)
    x = golden_inputs(golden, specs)[0]
    assert golden_error(golden, Session(rung.data).run(x)) <= golden.tolerance
    assert golden_error(golden, Session(rung.data, exact=False).run(x)) <= golden.tolerance
    assert golden_error(golden, Session(other.data).run(x)) > golden.tolerance
    assert golden_error(golden, Session(corrupted(rung)).run(x)) > golden.tolerance


def test_signal_to_noise_ratio_is_in_decibels() -> None:
    signal = np.ones(100)
    assert snr_db(signal, signal + 0.1) == pytest.approx(20)
    assert snr_db(signal, signal) == float("inf")
    assert snr_db(np.zeros(4), np.ones(4)) < -100


def test_a_session_splits_many_samples_into_batches_and_times_one() -> None:
    rung = rung_of(master_of("mlp"), 1.0, "fp32")
    session, x = Session(rung.data), samples((10,), 600)
    np.testing.assert_allclose(session.run(x), twin_outputs(rung.network, x), rtol=1e-4, atol=1e-5)
    assert session.latency_ms(x, runs=3, warm_up=1) > 0
