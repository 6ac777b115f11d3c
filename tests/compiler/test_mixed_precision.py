"""Layers that cost more accuracy than time stay float, as few as will do."""

from __future__ import annotations

import numpy as np
import onnx
from tests.compiler import digits
from tests.compiler.rungs import twin_outputs
from tests.compiler.unbalanced import unbalanced_master

from secateur.evaluation import Session, snr_db
from secateur.mixed_precision import _choose, mix_precisions
from secateur.quantizing import quantize_rung
from secateur.writing import program_of, rung_file
from secateur_profiles import load as load_profile

PI = load_profile("raspberry-pi-4b")


def test_the_layer_that_int8_spoils_stays_float_in_every_rung_and_in_the_base() -> None:
    master, x = unbalanced_master(), digits.task().inputs("validation")
    full = master.groups.full()
    expected = twin_outputs(master.rung_network(full), x)

    def metric(data: bytes) -> float:
        return float(snr_db(expected, Session(data).run(x)))

    mixed, found, largest = mix_precisions(master, PI, "int8", x, 100.0, metric, allowed=75.0)
    assert found is not None
    assert found.before < 25 <= found.after
    assert "w2" in mixed.floating
    data = rung_file(mixed, largest.network, mixed.index(full), "int8", largest.ranges)
    assert snr_db(expected, Session(data).run(x)) > 25, "the full network is ready to be written"
    assert len(mixed.floating) <= 2
    assert [layer.floating for layer in found.layers] == [w in mixed.floating for w in ("w0", "w1", "w2", "w3")]
    assert abs(sum(layer.time_share for layer in found.layers) - 1) < 0.3, "what has no weight takes time, too"
    base = mixed.base("int8")
    assert base["w2"].dtype == np.float32
    assert base["w1"].dtype == np.int8
    half = {group.id: max(1, group.size // 2) for group in master.groups.groups}
    made = quantize_rung(mixed, mixed.rung_network(half), mixed.index(half), "int8", x)
    data = program_of(mixed, made.network, mixed.index(half), "int8", made.ranges).recipe(base)[1]
    kinds = [
        onnx.TensorProto.DataType.Name(t.data_type)
        for t in onnx.load_from_string(data).graph.initializer
        if len(t.dims) == 4
    ]
    assert sorted(kinds) == sorted("FLOAT" if w in mixed.floating else "INT8" for w in ("w0", "w1", "w2"))
    assert f"{len(mixed.floating)} of 4 layers stay float" in found.told("pi")


def test_nothing_is_looked_at_if_int8_is_good_enough_or_activations_are_float() -> None:
    master, x = unbalanced_master(), digits.task().inputs("validation")
    assert mix_precisions(master, PI, "int8", x, 1.0, lambda data: 0.999, 0.003)[:2] == (master, None)
    assert mix_precisions(master, PI, "int8-weight-only", x, 1.0, lambda data: 0.0, 0.003)[:2] == (master, None)
    assert mix_precisions(master, PI, "fp32", x, 1.0, lambda data: 0.0, 0.003)[:2] == (master, None)


def test_as_few_layers_as_reach_the_goal_are_taken() -> None:
    accuracy = {f"l{n}": 0.2 - 0.01 * n for n in range(10)}
    time = dict.fromkeys(accuracy, 0.05)
    for needed in range(1, 11):
        chosen, value = _choose(accuracy, time, lambda names, k=needed: float(len(names) >= k), 0.0, 1.0)
        assert chosen == frozenset(f"l{n}" for n in range(needed))
        assert value == 1.0


def test_layers_that_cost_more_time_than_accuracy_stay_int8_and_half_the_time_is_never_float() -> None:
    accuracy = {"cheap": 0.3, "dear": 0.3}
    chosen, _ = _choose(accuracy, {"cheap": 0.01, "dear": 0.4}, lambda names: 0.1 * len(names), 0.0, 1.0)
    assert chosen == {"cheap"}
    wide = {f"l{n}": 0.25 for n in range(4)}
    chosen, _ = _choose(wide, dict.fromkeys(wide, 0.2), lambda names: 0.1 * len(names), 0.0, 1.0)
    assert len(chosen) == 2


def test_if_float_layers_do_not_help_there_are_none() -> None:
    chosen, value = _choose({"a": 0.9}, {"a": 0.1}, lambda names: 0.4, 0.5, 1.0)
    assert chosen == frozenset()
    assert value == 0.5
