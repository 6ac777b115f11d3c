"""A compilation with ``drop_blocks``: rungs without residual branches ship, verify, and can be cut between."""

from __future__ import annotations

import shutil
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.compiler import compiled, digits
from tests.compiler.compiled import BOARD
from tests.compiler.networks import MAKERS, export_onnx, module_of, samples

from secateur.bundle.pack import digest
from secateur.criteria import Evidence, score
from secateur.evaluation import Session
from secateur.graph import find_groups
from secateur.ir import Budget, InfeasibleError, SecateurError
from secateur.load import ArrayTask, Task
from secateur.master import untuned_master
from secateur.pipeline import CompileResult, CompileSettings, compile
from secateur.programs import parent_for
from secateur.pruning import sort_groups
from secateur.recutting import recut
from secateur.report import summarise
from secateur.search.choose import SAFETY
from secateur.workspace import load_workspace, read_state
from secateur_agent.bundle.base import read_base
from secateur_agent.bundle.golden import golden_error, golden_inputs
from secateur_agent.bundle.manifest import BundleError, open_recut
from secateur_agent.bundle.materialise import materialise_bytes
from secateur_agent.bundle.reader import BundleFolder, load_recipe
from secateur_agent.bundle.recipe import encode_recipe
from secateur_agent.protocol.messages import Constraints

PRECISIONS = ["int8", "fp32"]


@cache
def residual_onnx() -> Path:
    path = compiled.folder() / "residual.onnx"
    onnx.save(export_onnx(digits.trained_residual(), digits.SHAPE, folded=True), path)
    return path


def compile_residual(out: Path, settings: CompileSettings) -> CompileResult:
    profiles = [str(compiled.board_file())]
    return compile(str(residual_onnx()), digits.task(), profiles, out, "residual", compiled.keys(), settings)


@cache
def result(precision: str) -> CompileResult:
    """A ladder of which at least two rungs do without the same blocks, with a network between them that is none."""
    limit = Budget(latency_ms=limit_ms(precision))
    for rungs in (4, 3, 5):
        settings = CompileSettings(rungs=rungs, steps=20, precisions=(precision,), drop_blocks=True, budget=limit)
        made = compile_residual(compiled.folder() / f"blocks-{precision}-{rungs}", settings)
        sets = [made.groups.dropped(rung.entry.keep) for rung in made.profiles[0].rungs]
        if 1 < len(set(sets)) < len(sets) and between_rungs(made) is not None:
            return made
    raise AssertionError("no ladder of this network has what these tests are about")


def told(keep: dict[str, int]) -> dict[str, int]:
    """Keep-counts as a manifest has them: a block that is not named is kept."""
    return {key: count for key, count in keep.items() if not (key.startswith("b") and count)}


def between_rungs(made: CompileResult) -> tuple[dict[str, int], float] | None:
    """The largest network without blocks that lies between two rungs, and its latency."""
    rungs = [rung.entry for rung in made.profiles[0].rungs]
    state = read_state(made.profiles[0].bundle.parent / "workspace").profiles[BOARD]
    for keep, latency_ms in state.path:
        program = parent_for(state.parents, made.groups, rungs[0].precision, keep)
        if made.groups.dropped(keep) and program is not None and told(keep) not in [rung.keep for rung in rungs]:
            return keep, latency_ms
    return None


def limit_ms(precision: str) -> float:
    """Where the path has just dropped the first blocks without which it goes on with channels.

    The network is trained where the test runs, so that no two machines have quite the same path.
    """
    folder = compiled.folder() / f"path-{precision}"
    settings = CompileSettings(rungs=2, steps=0, precisions=(precision,), drop_blocks=True)
    groups = compile_residual(folder, settings).groups
    without: dict[tuple[str, ...], list[float]] = {}
    for keep, latency_ms in read_state(folder / "workspace").profiles[BOARD].path:
        without.setdefault(groups.dropped(keep), []).append(latency_ms)
    return 1.0001 * next(latencies[0] for dropped, latencies in without.items() if dropped and len(latencies) > 2)


@pytest.fixture(params=PRECISIONS)
def made(request: pytest.FixtureRequest) -> CompileResult:
    return result(request.param)


def bundle_of(made: CompileResult) -> BundleFolder:
    return BundleFolder(made.profiles[0].bundle, compiled.keys().root)


def workspace_of(made: CompileResult, folder: Path) -> Path:
    return Path(shutil.copytree(made.profiles[0].bundle.parent / "workspace", folder / "workspace"))


def test_rungs_drop_blocks_pass_the_gate_and_materialise(made: CompileResult) -> None:
    (profile,) = made.profiles
    assert profile.dropped == {}
    dropped = [made.groups.dropped(rung.entry.keep) for rung in profile.rungs]
    assert dropped[0] == ()
    assert any(dropped)
    bundle = bundle_of(made)
    bundle.verify()
    for rung in profile.rungs:
        assert rung.gate.reason == ""
        assert bundle.materialise(rung.entry.id) == rung.data
        golden = rung.entry.golden
        assert (
            golden_error(golden, Session(rung.data).run(golden_inputs(golden, bundle.manifest.inputs)[0]))
            <= golden.tolerance
        )
    for above, below in pairwise(rung.entry for rung in profile.rungs):
        assert all(below.keep[key] <= count for key, count in above.keep.items())
        assert (below.latency_ms, below.macs, below.params) < (above.latency_ms, above.macs, above.params)
    assert profile.rungs[0].entry.metric_value > 0.95
    assert profile.rungs[1].entry.metric_value > 0.6


def test_a_rung_without_a_block_has_fewer_layers_and_no_weight_of_it(made: CompileResult) -> None:
    rungs = made.profiles[0].rungs
    layers = [sum(node.op_type == "Conv" for node in onnx.load_from_string(rung.data).graph.node) for rung in rungs]
    lost = [len(made.groups.dropped(rung.entry.keep)) for rung in rungs]
    assert layers == [layers[0] - 2 * count for count in lost]


def test_each_set_of_dropped_blocks_has_one_program_that_the_offline_key_signed(made: CompileResult) -> None:
    bundle, seen = bundle_of(made), set()
    for rung in made.profiles[0].rungs:
        blocks = made.groups.dropped(rung.entry.keep)
        assert rung.inherits == (blocks in seen)
        if blocks in seen:
            load_recipe(bundle.read(rung.entry.recipe), rung.entry, bundle.read, must_inherit=True)
        else:
            with pytest.raises(BundleError, match="a program of its own"):
                load_recipe(bundle.read(rung.entry.recipe), rung.entry, bundle.read, must_inherit=True)
        seen.add(blocks)
    assert 1 < len(seen) < len(made.profiles[0].rungs)


def test_parents_are_those_rungs_and_cover_what_may_be_cut(made: CompileResult, tmp_path: Path) -> None:
    workspace = workspace_of(made, tmp_path)
    state, master, _ = load_workspace(workspace)
    mine = state.profiles[BOARD]
    assert master.groups.blocks == made.groups.blocks
    carriers = [rung for rung in made.profiles[0].rungs if not rung.inherits]
    assert len(mine.parents) == len(carriers)
    for parent, rung in zip(mine.parents, carriers):
        assert (workspace / parent.file).read_bytes() == encode_recipe(rung.recipe) == rung.recipe_file
        found = parent_for(mine.parents, master.groups, rung.entry.precision, rung.entry.keep)
        assert found == parent
        assert parent_for(mine.parents, master.groups, "fp16", rung.entry.keep) is None
        wider = {**rung.entry.keep, "g0": rung.entry.keep["g0"] + 1}
        assert parent_for(mine.parents, master.groups, rung.entry.precision, wider) is None
    unused = {**master.groups.full(), "b0": 0}
    assert parent_for(mine.parents, master.groups, carriers[0].entry.precision, unused) is None


def test_a_rung_is_cut_between_two_that_drop_the_same_blocks(made: CompileResult, tmp_path: Path) -> None:
    workspace, bundle = workspace_of(made, tmp_path), bundle_of(made)
    rungs = made.profiles[0].rungs
    found = between_rungs(made)
    assert found is not None
    wanted, wanted_ms = found
    below = next((rung.entry for rung in rungs if rung.entry.latency_ms < wanted_ms), rungs[-1].entry)
    cut = recut(workspace, BOARD, Constraints(latency_ms=1.0001 * wanted_ms / SAFETY), [], compiled.keys())
    assert cut.entry.keep == told(wanted)
    # As a device does: the envelope, the program of a file of the bundle, the digest.
    rung = open_recut(compiled.keys().root, cut.envelope, bundle.manifest, bundle.manifest_sha256).rung
    recipe = load_recipe(cut.recipe, rung, bundle.read, must_inherit=True)
    base = next(file.path for file in bundle.manifest.files if file.sha256 == rung.base)
    data = materialise_bytes(recipe, read_base(bundle.path / base), rung.id)
    assert digest(data) == cut.entry.file_sha256
    outputs = Session(data).run(golden_inputs(rung.golden, bundle.manifest.inputs)[0])
    assert golden_error(rung.golden, outputs) <= rung.golden.tolerance
    assert cut.entry.metric_value > below.metric_value - 0.1


def test_a_recut_never_has_blocks_that_no_rung_has(made: CompileResult, tmp_path: Path) -> None:
    workspace = workspace_of(made, tmp_path)
    state = read_state(workspace).profiles[BOARD]
    programs = {tuple(parent.dropped) for parent in state.parents}
    assert {made.groups.dropped(keep) for keep, _ in state.path} - programs, "so that this test shows something"
    cuts = 0
    for _, latency_ms in state.path[::4]:
        try:
            cut = recut(workspace, BOARD, Constraints(latency_ms=latency_ms / 0.92), [], compiled.keys())
        except InfeasibleError:
            continue
        cuts += 1
        assert made.groups.dropped(cut.entry.keep) in programs
    assert cuts


def test_without_being_asked_no_block_is_dropped(tmp_path: Path) -> None:
    made = compile_residual(tmp_path / "out", CompileSettings(rungs=4, steps=0, precisions=("int8",)))
    assert len(made.groups.blocks) == 4
    assert all(made.groups.dropped(rung.entry.keep) == () for rung in made.profiles[0].rungs)
    path = read_state(tmp_path / "out" / "workspace").profiles[BOARD].path
    assert all(made.groups.dropped(keep) == () for keep, _ in path)


@pytest.mark.parametrize("criterion", ["block-influence", "recoverability"])
@pytest.mark.parametrize("name", ["resnet-b", "mobilenet", "preactivation"])
def test_every_residual_topology_compiles(tmp_path: Path, name: str, criterion: str) -> None:
    onnx.save(export_onnx(module_of(name), MAKERS[name][1], folded=False), tmp_path / "net.onnx")
    shape = MAKERS[name][1]
    task = Task(ArrayTask(samples(shape, 160), samples(shape, 60, seed=1)), "noise")
    steps = 3 if criterion == "recoverability" else 0
    # So little time that nearly everything must go.
    # Random weights at an eighth of their width are too coarse for the int8 gate of the inverted residuals.
    precision = "fp32" if name == "mobilenet" else "int8"
    settings = CompileSettings(
        Budget(latency_ms=8e-4 if precision == "fp32" else 4e-4),
        4,
        steps=steps,
        precisions=(precision,),
        drop_blocks=True,
        block_criterion=criterion,
    )
    profiles = [str(compiled.board_file())]
    made = compile(str(tmp_path / "net.onnx"), task, profiles, tmp_path / "out", name, compiled.keys(), settings)
    (profile,) = made.profiles
    assert profile.dropped == {}
    assert any(made.groups.dropped(rung.entry.keep) for rung in profile.rungs)
    bundle = bundle_of(made)
    assert all(bundle.materialise(rung.entry.id) == rung.data for rung in profile.rungs)
    report = summarise(made)
    assert [block.id for block in report.blocks] == [block.id for block in made.groups.blocks]


def test_repair_is_in_the_rung_that_was_not_tuned(tmp_path: Path) -> None:
    """Recalibration alone is what a rung without the block would have had; the shipped one is nearer to the original."""
    settings = CompileSettings(rungs=4, steps=0, precisions=("fp32",), drop_blocks=True, block_criterion="recoverability")
    made = compile_residual(tmp_path / "out", settings)
    network = digits.residual_network()
    groups = find_groups(network)
    scores = score("magnitude-l2", Evidence(network, groups))
    master = untuned_master(sort_groups(network, groups, scores), groups, scores, digits.task())
    x = digits.task().inputs("calibration")[:256]
    original = Session(made.profiles[0].rungs[0].data).run(x)
    dropping = [rung for rung in made.profiles[0].rungs if made.groups.dropped(rung.entry.keep)]
    assert dropping[0].entry.metric_value > 0.6
    improved = 0
    for rung in dropping:
        shipped = Session(rung.data).run(x)
        plain = recalibrated_outputs(master, rung.entry.keep, x)
        near, far = (float(((outputs - original) ** 2).sum()) for outputs in (shipped, plain))
        assert near <= far
        improved += near < 0.9 * far
    assert improved


def recalibrated_outputs(master, keep, x):  # type: ignore[no-untyped-def]
    from tests.compiler.rungs import twin_outputs

    from secateur.dropping import cut_statistics
    from secateur.pruning import cut
    from secateur.tuning import recalibrate

    small = cut(master.network, master.groups, keep)
    goals = cut_statistics(master.groups, keep, master.goals[0][1])
    return np.asarray(twin_outputs(small.with_values(tables=recalibrate(small, goals, x)), x))


def test_an_unknown_criterion_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SecateurError, match="block criterion 'vibes'"):
        compile_residual(tmp_path / "out", CompileSettings(drop_blocks=True, block_criterion="vibes"))
    assert not (tmp_path / "out").exists()
