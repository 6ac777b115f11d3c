"""`compile` makes bundles that devices can verify and run; `recut` adds rungs later; what cannot be is refused cleanly."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from tests.compiler import compiled, digits
from tests.compiler.compiled import BOARD, GATEWAY
from tests.compiler.networks import MAKERS, export_onnx, module_of, samples

from secateur.bundle.keys import Keys, KeysError, create_keys
from secateur.evaluation import Session, check_rung
from secateur.ir import Budget, InfeasibleError, SecateurError
from secateur.load import ArrayTask, Task
from secateur.pipeline import CompileResult, CompileSettings, compile
from secateur.recutting import RecutRung, recut
from secateur_agent.bundle.base import read_base
from secateur_agent.bundle.golden import golden_error, golden_inputs
from secateur_agent.bundle.manifest import open_recut
from secateur_agent.bundle.materialise import materialise_bytes
from secateur_agent.bundle.reader import BundleFolder, load_recipe
from secateur_agent.protocol.messages import Constraints, RungMeasurement

BUILT_IN = "raspberry-pi-4b"


def task_of(name: str, count: int = 160) -> Task:
    """An unlabelled task of random inputs."""
    shape = MAKERS[name][1]
    return Task(ArrayTask(samples(shape, count), samples(shape, 60, seed=1)), "noise")


def compile_digits(profiles: list[str], out: Path, settings: CompileSettings) -> CompileResult:
    return compile(str(compiled.digits_onnx()), digits.task(), profiles, out, "digits", compiled.keys(), settings)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A copy of the shared compilation's workspace."""
    compiled.result()
    return Path(shutil.copytree(compiled.folder() / "out" / "workspace", tmp_path / "workspace"))


def bundle_of(profile: str = BOARD) -> BundleFolder:
    found = next(made for made in compiled.result().profiles if made.profile == profile)
    return BundleFolder(found.bundle, compiled.keys().root)


def test_only_the_onnx_file_is_needed() -> None:
    """Torch-Pruning#134 and nni#5499: "I only have the ONNX file". No source, batch norms folded: still a whole ladder."""
    result = compiled.result()
    assert result.proof_error <= 1e-9
    assert result.original_value["test"] > 0.9
    for made in result.profiles:
        assert made.dropped == {}
        assert len(made.rungs) == 3
        values = [rung.entry.metric_value for rung in made.rungs]
        assert values[0] > 0.95
        assert values[1] > 0.8


def test_bundles_are_signed_whole_and_materialise_to_what_was_measured() -> None:
    for made in compiled.result().profiles:
        bundle = bundle_of(made.profile)
        bundle.verify()
        assert bundle.manifest.name == "digits"
        assert bundle.manifest.profile == made.profile
        for rung in made.rungs:
            assert bundle.materialise(rung.entry.id) == rung.data
            golden = rung.entry.golden
            x = golden_inputs(golden, bundle.manifest.inputs)[0]
            assert golden_error(golden, Session(rung.data).run(x)) <= golden.tolerance


def test_rungs_are_nested_smaller_and_faster() -> None:
    for made in compiled.result().profiles:
        entries = [rung.entry for rung in made.rungs]
        for above, below in pairwise(entries):
            assert all(below.keep[key] <= count for key, count in above.keep.items())
            assert below.latency_ms < above.latency_ms
            assert below.macs < above.macs
            assert below.file_bytes < above.file_bytes


def test_later_rungs_share_the_first_ones_program() -> None:
    for made in compiled.result().profiles:
        bundle = bundle_of(made.profile)
        for rung in made.rungs[1:]:
            load_recipe(bundle.read(rung.entry.recipe), rung.entry, bundle.read, must_inherit=True)


def test_profiles_share_one_tuning_but_not_their_precision() -> None:
    made = {found.profile: found for found in compiled.result().profiles}
    assert {rung.entry.precision for rung in made[BOARD].rungs} == {"int8"}
    assert {rung.entry.precision for rung in made[GATEWAY].rungs} == {"fp32"}
    assert compiled.result().tuning_steps == 20


def between() -> Constraints:
    """A limit half-way between the first two rungs."""
    entries = [rung.entry for rung in compiled.result().profiles[0].rungs]
    return Constraints(latency_ms=(entries[0].latency_ms + entries[1].latency_ms) / 2)


def opened(cut: RecutRung, bundle: BundleFolder) -> bytes:
    """Verify a re-cut rung as a device does and return its model file."""
    rung = open_recut(compiled.keys().root, cut.envelope, bundle.manifest, bundle.manifest_sha256).rung
    assert rung == cut.entry
    recipe = load_recipe(cut.recipe, rung, bundle.read, must_inherit=True)
    base = next(file.path for file in bundle.manifest.files if file.sha256 == rung.base)
    return materialise_bytes(recipe, read_base(bundle.path / base), rung.id)


def test_a_rung_is_cut_between_two_others(workspace: Path) -> None:
    bundle = bundle_of()
    first, second = bundle.manifest.rungs[:2]
    cut = recut(workspace, BOARD, between(), [], compiled.keys())
    assert cut.entry.id == "r3-int8"
    assert second.latency_ms < cut.entry.latency_ms < first.latency_ms
    assert cut.entry.latency_ms <= between().latency_ms
    data = opened(cut, bundle)
    assert len(data) == cut.entry.file_bytes
    assert len(cut.recipe) < 0.5 * len(data)
    x = golden_inputs(cut.entry.golden, bundle.manifest.inputs)[0]
    assert golden_error(cut.entry.golden, Session(data).run(x)) <= cut.entry.golden.tolerance
    assert cut.entry.metric_value > 0.8


def test_measurements_of_the_device_shift_the_choice(workspace: Path) -> None:
    slower = [
        RungMeasurement(rung=rung.id, latency_p50_ms=1.3 * rung.latency_ms, latency_p95_ms=9.0, peak_rss_mb=50.0)
        for rung in bundle_of().manifest.rungs
    ]
    limit = Constraints(latency_ms=bundle_of().manifest.rungs[0].latency_ms)
    planned = recut(workspace, BOARD, Constraints(latency_ms=limit.latency_ms), [], compiled.keys())
    corrected = recut(workspace, BOARD, limit, slower, compiled.keys())
    assert corrected.entry.macs < planned.entry.macs
    assert 1.3 * corrected.entry.latency_ms <= limit.latency_ms


def test_ids_are_never_used_twice(workspace: Path) -> None:
    first = recut(workspace, BOARD, between(), [], compiled.keys())
    with pytest.raises(InfeasibleError, match="a rung of the ladder already"):
        recut(workspace, BOARD, between(), [], compiled.keys())
    second = recut(workspace, BOARD, Constraints(latency_ms=0.93 * first.entry.latency_ms), [], compiled.keys())
    assert (first.entry.id, second.entry.id) == ("r3-int8", "r4-int8")
    assert second.entry.file_sha256 != first.entry.file_sha256


def test_an_id_is_not_lost_if_the_key_is_missing(workspace: Path, tmp_path: Path) -> None:
    keys = create_keys(tmp_path / "keys")
    with pytest.raises(KeysError, match=r"recut\.key"):
        recut(workspace, BOARD, between(), [], Keys(keys.folder, {"bundle": keys.signing["bundle"]}))
    assert recut(workspace, BOARD, between(), [], compiled.keys()).entry.id == "r3-int8"


def test_a_recut_that_nothing_meets_is_infeasible_and_leaves_the_workspace_alone(workspace: Path) -> None:
    before = (workspace / "state.json").read_bytes()
    with pytest.raises(InfeasibleError, match="infeasible; the smallest width there is takes"):
        recut(workspace, BOARD, Constraints(latency_ms=1e-6), [], compiled.keys())
    assert (workspace / "state.json").read_bytes() == before


def test_a_recut_for_another_profile_or_precision_is_refused(workspace: Path) -> None:
    with pytest.raises(SecateurError, match=f"no bundle for profile 'abacus'; it has {BOARD}, {GATEWAY}"):
        recut(workspace, "abacus", between(), [], compiled.keys())
    with pytest.raises(SecateurError, match="no fp32 base"):
        recut(workspace, BOARD, between(), [], compiled.keys(), precision="fp32")


def test_an_accuracy_budget_that_no_rung_meets_writes_nothing(tmp_path: Path) -> None:
    settings = CompileSettings(budget=Budget(accuracy_drop=0.5, size_kb=7), steps=0, rungs=2, precisions=("int8",))
    with pytest.raises(InfeasibleError, match=r"infeasible for test-board: no smaller rung .*accuracy drops by") as caught:
        compile_digits([str(compiled.board_file())], tmp_path / "out", settings)
    assert caught.value.exit_code == 3
    assert not (tmp_path / "out").exists()


def test_a_budget_that_no_width_meets_writes_nothing(tmp_path: Path) -> None:
    settings = CompileSettings(budget=Budget(size_kb=0.5), steps=0)
    with pytest.raises(InfeasibleError, match=r"asked for size in KiB ≤ 0\.5; the nearest is size in KiB"):
        compile_digits([BUILT_IN], tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("name", ["mobilenet", "resnet-a", "smartwatch", "mixed"])
def test_every_topology_compiles(tmp_path: Path, name: str, precision: str) -> None:
    onnx.save(export_onnx(module_of(name), MAKERS[name][1], folded=False), tmp_path / "net.onnx")
    settings = CompileSettings(rungs=3, steps=3, precisions=(precision,))
    model, profiles = str(tmp_path / "net.onnx"), [str(compiled.board_file())]
    made = compile(model, task_of(name), profiles, tmp_path / "out", name, compiled.keys(), settings)
    (profile,) = made.profiles
    assert profile.dropped == {}
    assert [rung.entry.id for rung in profile.rungs] == [f"r{i}-{precision}" for i in range(3)]
    assert not made.labelled
    bundle = BundleFolder(profile.bundle, compiled.keys().root)
    assert bundle.manifest.metric.name == "agreement"
    for rung in profile.rungs:
        assert rung.gate.reason == ""
        assert rung.gate.snr_db > (50 if precision == "fp32" else min(40, rung.gate.ordinary_snr_db - 3))
        assert bundle.materialise(rung.entry.id) == rung.data


def test_golden_inputs_vary_although_most_of_the_data_is_one_value(tmp_path: Path) -> None:
    x = np.zeros((60, 10), np.float32)
    x[::30, 0] = 5
    settings = CompileSettings(rungs=2, steps=0)
    model = tmp_path / "net.onnx"
    onnx.save(export_onnx(module_of("mlp"), (10,), folded=True), model)
    for values in (x, 0 * x):
        task = Task(ArrayTask(values, values), "sparse")
        made = compile(str(model), task, [BUILT_IN], tmp_path / "out", "mlp", compiled.keys(), settings)
        assert all(rung.entry.golden.low < rung.entry.golden.high for rung in made.profiles[0].rungs)


def test_a_torch_module_compiles_without_a_file(tmp_path: Path) -> None:
    settings = CompileSettings(rungs=2, steps=0)
    made = compile(module_of("mlp"), task_of("mlp"), [BUILT_IN], tmp_path / "out", "mlp", compiled.keys(), settings)
    original = made.profiles[0].rungs[0]
    x = samples((10,), 40)
    with torch.no_grad():
        expected = module_of("mlp")(torch.from_numpy(x)).numpy()
    agree = (Session(original.data).run(x).argmax(1) == expected.argmax(1)).mean()
    assert agree > 0.9


def test_a_rung_that_fails_the_gate_is_not_shipped_and_the_others_still_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def strict(data: bytes, reference: NDArray[np.float32], inputs: NDArray[np.float32], *rest: object):  # type: ignore[no-untyped-def]
        calls.append(data)
        gate = check_rung(data, reference, inputs, *rest)  # type: ignore[arg-type]
        return gate if len(calls) > 1 else type(gate)(gate.snr_db, gate.ordinary_snr_db, "the first is refused")

    monkeypatch.setattr("secateur.assembly.check_rung", strict)
    settings = CompileSettings(rungs=3, steps=2, precisions=("int8",))
    made = compile_digits([str(compiled.board_file())], tmp_path / "out", settings)
    (profile,) = made.profiles
    assert profile.dropped == {"r0-int8": "the first is refused"}
    assert [rung.entry.id for rung in profile.rungs] == ["r1-int8", "r2-int8"]
    BundleFolder(profile.bundle, compiled.keys().root).verify()
    limit = (profile.rungs[0].entry.latency_ms + profile.rungs[1].entry.latency_ms) / 2
    cut = recut(tmp_path / "out" / "workspace", BOARD, Constraints(latency_ms=limit), [], compiled.keys())
    assert cut.entry.id == "r3-int8"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "a/b"}, "name 'a/b'"),
        ({"profiles": []}, "no device profile"),
        ({"profiles": ["raspbery-pi-4b"]}, "did you mean"),
        ({"task": Task(ArrayTask(samples((3,), 20), samples((3,), 5)), "small")}, r"has shape \(3,\), but the model takes"),
        ({"settings": CompileSettings(criterion="vibes")}, "criterion 'vibes'"),
        ({"settings": CompileSettings(precisions=("fp16",))}, "none of fp16 can be built"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    arguments: dict[str, object] = {
        "model": str(compiled.digits_onnx()),
        "task": digits.task(),
        "profiles": [BUILT_IN],
        "out": tmp_path / "out",
        "name": "digits",
        "keys": compiled.keys(),
    }
    with pytest.raises(ValueError, match=reason) as caught:
        compile(**{**arguments, **changes})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_rungs_are_timed_here_if_asked(tmp_path: Path) -> None:
    settings = CompileSettings(rungs=2, steps=0, verify_latency=True)
    (made,) = compile_digits([str(compiled.board_file(GATEWAY))], tmp_path, settings).profiles
    assert all(rung.measured_ms > 0 for rung in made.rungs)
    for above, below in pairwise(made.rungs):
        assert below.measured_ms < above.measured_ms


def test_a_recut_says_where_the_latencies_of_its_path_come_from(workspace: Path) -> None:
    assert recut(workspace, BOARD, between(), [], compiled.keys()).entry.latency_source == "roofline"
    state = json.loads((workspace / "state.json").read_text())
    assert state["profiles"][BOARD].pop("latency_source") == "roofline"
    (workspace / "state.json").write_text(json.dumps(state))  # as an earlier version wrote it
    limit = Constraints(latency_ms=0.9 * between().latency_ms)
    assert recut(workspace, BOARD, limit, [], compiled.keys()).entry.latency_source == "roofline"
    state["profiles"][BOARD]["latency_source"] = "measured"
    (workspace / "state.json").write_text(json.dumps(state))
    assert recut(workspace, BOARD, limit, [], compiled.keys()).entry.latency_source == "measured"
