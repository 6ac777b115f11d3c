"""The installer on a real store with real helpers: killed at every step, refused for every reason."""

from __future__ import annotations

import msgspec
import pytest
from tests.agent.install.conftest import Bench, Killed

from secateur_agent.bundle.manifest import Manifest, open_manifest
from secateur_agent.install.acceptance import accept_manifest, space_problem
from secateur_agent.installed_ladder import open_installed
from secateur_agent.protocol.messages import ModelRef


def test_installs_and_measures_every_rung(bench: Bench) -> None:
    _, model = bench.bundle()
    bench.install(model)
    assert bench.installer.state.step == "committed"
    assert {m.rung for m in bench.place.measurements.of(model.manifest.sha256)} == {"r0-fp32", "r1-fp32", "r2-fp32"}
    assert bench.installer.state.committed is not None
    ladder = open_installed(bench.place.store, bench.installer.state.committed, [])
    assert all(ladder.path(rung).stat().st_size == entry.file_bytes for rung, entry in ladder.entries.items())


@pytest.mark.parametrize("step", ["fetching", "verifying", "staged", "trial", "committed"])
def test_killed_at_any_step_it_continues_after_a_restart(bench: Bench, step: str) -> None:
    _, before = bench.bundle("before", widths=(8,))
    bench.install(before)
    _, model = bench.bundle()

    def kill(text: str) -> None:
        if f"→ {step}" in text:
            raise Killed

    bench.on_event = kill
    with pytest.raises(Killed):
        bench.install(model, 2)
    bench.helpers.stop()
    bench.on_event = lambda text: None
    bench.start()
    served = bench.installer.state.committed
    assert served is not None
    assert served.model == (model if step == "committed" else before)
    bench.installer.resume()
    bench.deliver(model)
    bench.drive()
    assert bench.installer.state.step == "committed"
    assert bench.installer.state.committed is not None
    assert bench.installer.state.committed.model == model
    assert bench.installer.state.previous is not None
    assert bench.installer.state.previous.model == before


def test_only_the_present_model_and_the_one_before_stay_on_disk(bench: Bench) -> None:
    models = [bench.bundle(name, widths=(4 + n,))[1] for n, name in enumerate(("one", "two", "three"))]
    for version, model in enumerate(models, 1):
        bench.install(model, version)
    bench.keeper.collect()
    folders = {path.name for path in (bench.place.store.root / "models").iterdir()}
    assert folders == {model.manifest.sha256 for model in models[1:]}
    assert not bench.place.store.has(models[0].manifest.sha256)
    assert bench.installer.roll_back("by command")
    bench.keeper.refresh(0.0)
    assert bench.keeper.ladder is not None
    assert bench.keeper.ladder.manifest.name == "two"
    assert bench.keeper.ladder.path("r0-fp32").is_file()


def test_a_manifest_with_a_wrong_signature_is_refused_as_soon_as_it_is_here(bench: Bench) -> None:
    path, _ = bench.bundle()
    envelope = msgspec.json.decode((path / "manifest.json").read_bytes())
    envelope["signed"]["profile"] = "raspberry-pi-4b"
    bad = bench.host.add(msgspec.json.encode(envelope))
    _, good = bench.bundle("other")
    model = msgspec.structs.replace(good, manifest=msgspec.structs.replace(good.manifest, sha256=bad))
    model = msgspec.structs.replace(model, manifest=msgspec.structs.replace(model.manifest, size=len(bench.host.read(bad))))
    bench.installer.want(model, 1)
    bench.downloads.on_chunk(bad, 0, bench.host.read(bad), 0.0)
    bench.installer.poll()
    assert bench.installer.state.step == "rolled-back"
    assert "wrong signature" in bench.installer.state.fault
    assert not bench.place.store.has(model.files[0].sha256)


def test_a_shadow_that_lists_other_files_than_the_manifest_is_refused(bench: Bench) -> None:
    path, model = bench.bundle()
    data = (path / "manifest.json").read_bytes()
    manifest: Manifest = open_manifest(bench.keys.root, data)
    fewer: ModelRef = msgspec.structs.replace(model, files=model.files[1:])
    renamed = msgspec.structs.replace(model, name="another")
    for wrong, why in ((fewer, "lists other files"), (renamed, "calls it")):
        with pytest.raises(ValueError, match=why):
            accept_manifest(bench.keys.root, data, wrong, manifest.profile)
    with pytest.raises(ValueError, match="this device is a jetson-orin-nano"):
        accept_manifest(bench.keys.root, data, model, "jetson-orin-nano")
    assert accept_manifest(bench.keys.root, data, model, manifest.profile) == manifest


def test_a_blob_that_is_damaged_on_disk_is_removed_and_may_be_pushed_again(bench: Bench) -> None:
    _, model = bench.bundle()
    bench.installer.want(model, 1)
    bench.deliver(model)
    victim = bench.place.store.path(model.files[0].sha256)
    victim.write_bytes(b"rotten" + victim.read_bytes()[6:])
    bench.drive()
    assert bench.installer.state.step == "rolled-back"
    assert "damaged" in bench.installer.state.fault
    bench.install(model, 2)
    assert bench.installer.state.committed is not None


def test_a_full_disk_is_a_clean_refusal_that_may_be_pushed_again(bench: Bench) -> None:
    assert space_problem(bench.place.store.root, 1, "x") == ""
    assert space_problem(bench.place.store.root, 1 << 60, "x").startswith("disk full: x needs")
    _, model = bench.bundle()
    endless = tuple(msgspec.structs.replace(model.files[0], sha256=f"{n:064x}", size=1 << 34) for n in range(4000))
    bench.installer.want(msgspec.structs.replace(model, files=endless), 1)
    assert bench.installer.state.step == "rolled-back"
    assert "disk full" in bench.installer.state.fault
    bench.install(model, 2)
    assert bench.installer.state.committed is not None


def test_a_rung_too_big_for_the_profile_is_set_aside_and_the_others_serve(bench: Bench) -> None:
    _, model = bench.bundle()
    first = bench.place.profile.memory
    tight = msgspec.structs.replace(first, worker_limit_mb=1.0)
    object.__setattr__(bench.place, "profile", msgspec.structs.replace(bench.place.profile, memory=tight))
    bench.install(model)
    assert bench.installer.state.step == "rolled-back"
    assert "no rung fits this device" in bench.installer.state.fault
    assert "the profile allows 1 MB" in bench.installer.state.fault
