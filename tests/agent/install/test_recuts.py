"""Re-cut rungs: added to the ladder when they are sound, and never an outage when they are not."""

from __future__ import annotations

import msgspec
from tests.agent.install.conftest import Bench
from tests.bundle_factory import make_recut


def take_up(bench: Bench, *refs: object) -> None:
    bench.recuts.want(tuple(refs))  # type: ignore[arg-type]
    bench.keeper.refresh(0.0)
    bench.recuts.step(bench.keeper.ladder, free=True)
    for ref in refs:
        if bench.downloads.owner:
            digest = ref.recipe.sha256  # type: ignore[attr-defined]
            bench.downloads.on_chunk(digest, 0, bench.host.read(digest), 0.0)
            bench.recuts.step(bench.keeper.ladder, free=True)
            bench.drive()
    bench.keeper.refresh(0.0)


def rungs(bench: Bench) -> list[str]:
    assert bench.keeper.ladder is not None
    return list(bench.keeper.ladder.entries)


def test_joins_the_ladder_leaves_it_when_it_is_not_wanted_and_survives_a_restart(bench: Bench) -> None:
    path, model = bench.bundle()
    bench.install(model)
    ref = bench.recut_ref(make_recut(path, bench.keys))
    take_up(bench, ref)
    assert rungs(bench) == ["r0-fp32", "r1-fp32", "r2-fp32", "r9-fp32"]
    assert any(m.rung == "r9-fp32" for m in bench.place.measurements.of(model.manifest.sha256))
    bench.keeper.collect()
    bench.start()
    bench.recuts.want((ref,))
    bench.keeper.refresh(0.0)
    assert "r9-fp32" in rungs(bench)
    bench.recuts.want(())
    bench.keeper.refresh(0.0)
    assert "r9-fp32" not in rungs(bench)


def test_one_that_is_not_signed_by_the_online_key_is_a_fault_event_and_not_tried_again(bench: Bench) -> None:
    path, model = bench.bundle()
    bench.install(model)
    other_path, _ = bench.bundle("other")
    foreign = bench.recut_ref(make_recut(other_path, bench.keys, rung_id="r8-fp32"))
    good = bench.recut_ref(make_recut(path, bench.keys))
    forged = msgspec.structs.replace(good, envelope="bm90IGEgc2lnbmF0dXJl")
    take_up(bench, foreign, forged)
    assert rungs(bench) == ["r0-fp32", "r1-fp32", "r2-fp32"]
    faults = [text for kind, text in bench.events if kind == "fault"]
    assert len(faults) == 2
    assert "was cut from bundle" in faults[0]
    take_up(bench, foreign, forged)
    assert len([kind for kind, _ in bench.events if kind == "fault"]) == 2


def test_one_whose_recipe_is_another_changes_nothing(bench: Bench) -> None:
    path, model = bench.bundle()
    bench.install(model)
    good = make_recut(path, bench.keys)
    other = bench.recut_ref(make_recut(path, bench.keys, width=6, rung_id="r7-fp32"))
    mixed = msgspec.structs.replace(bench.recut_ref(good), recipe=other.recipe)
    take_up(bench, mixed)
    assert rungs(bench) == ["r0-fp32", "r1-fp32", "r2-fp32"]
    assert "names another recipe" in bench.events[-1][1]
