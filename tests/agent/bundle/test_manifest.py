"""Manifests and re-cut rungs: signed by the right key, and free of contradictions."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.bundle_factory import make_recut

from secateur.bundle.keys import Keys, create_keys
from secateur_agent.bundle.manifest import BundleError, Manifest, Recut, open_manifest, open_recut
from secateur_agent.bundle.reader import BundleFolder
from secateur_agent.trust import TrustError


@pytest.fixture(scope="module")
def signed(toy: Path) -> bytes:
    return (toy / "manifest.json").read_bytes()


@pytest.fixture(scope="module")
def manifest(keys: Keys, signed: bytes) -> Manifest:
    return open_manifest(keys.root, signed)


def test_opens_and_finds_rungs_by_id(manifest: Manifest) -> None:
    assert [rung.id for rung in manifest.rungs] == ["r0-fp32", "r1-fp32", "r2-fp32"]
    assert manifest.rung("r1-fp32").keep == {"hidden": 8}
    with pytest.raises(BundleError, match="no rung 'r7-fp32'; it has r0-fp32, r1-fp32, r2-fp32"):
        manifest.rung("r7-fp32")


@pytest.mark.parametrize("role", ["recut", "command"])
def test_only_the_bundle_key_signs_manifests(keys: Keys, manifest: Manifest, role: Any) -> None:
    with pytest.raises(TrustError, match="may not sign a bundle"):
        open_manifest(keys.root, keys.seal(role, manifest))


def test_keys_of_somebody_else_sign_nothing_here(tmp_path: Path, signed: bytes) -> None:
    with pytest.raises(TrustError, match="may not sign"):
        open_manifest(create_keys(tmp_path / "other").root, signed)


def changed(manifest: Manifest, **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(msgspec.json.encode(manifest))
    return {**fields, **changes}


def test_unknown_fields_are_ignored(keys: Keys, manifest: Manifest) -> None:
    assert open_manifest(keys.root, keys.seal("bundle", changed(manifest, later=[1]))) == manifest


def test_contradictions_are_refused_although_signed(keys: Keys, manifest: Manifest) -> None:
    first, second, *_ = manifest.rungs
    twice = (manifest.files[0], *manifest.files)
    for wrong, why in (
        (replace(manifest, files=twice), "two files have the same path"),
        (replace(manifest, rungs=(first, replace(second, id=first.id))), "two rungs have the same id"),
        (replace(manifest, rungs=(replace(first, recipe="0" * 64),)), "recipe or base is not among the files"),
        (replace(manifest, rungs=(replace(first, base="0" * 64),)), "recipe or base is not among the files"),
    ):
        with pytest.raises(BundleError, match=why):
            open_manifest(keys.root, keys.seal("bundle", wrong))


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/b/c", ".hidden", "a/../b", "a\\b", "", "a\n", "a//b", "a/.."])
def test_a_path_that_leaves_the_folder_is_refused(keys: Keys, manifest: Manifest, path: str) -> None:
    files = [{"path": path, "sha256": "0" * 64, "size": 1}]
    with pytest.raises(BundleError, match=r"files\[0\]\.path"):
        open_manifest(keys.root, keys.seal("bundle", changed(manifest, files=files)))


@pytest.mark.parametrize(
    "changes", [{"v": 2}, {"kind": "recut"}, {"name": "a/b"}, {"rungs": []}, {"inputs": []}, {"metric": None}], ids=str
)
def test_a_manifest_outside_the_specification_is_refused(keys: Keys, manifest: Manifest, changes: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json"):
        open_manifest(keys.root, keys.seal("bundle", changed(manifest, **changes)))


@given(data=st.binary(max_size=300))
def test_random_bytes_are_refused(keys: Keys, data: bytes) -> None:
    with pytest.raises(TrustError):
        open_manifest(keys.root, data)


@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_never_changes_what_is_believed(
    keys: Keys, signed: bytes, manifest: Manifest, where: float, bit: int
) -> None:
    altered = bytearray(signed)
    altered[int(where * len(signed))] ^= 1 << bit
    with contextlib.suppress(TrustError):
        assert open_manifest(keys.root, bytes(altered)) == manifest


@given(
    value=st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda v: st.lists(v, max_size=3)), data=st.data()
)
def test_any_json_that_is_signed_is_a_manifest_or_a_bundle_error(
    keys: Keys, manifest: Manifest, value: Any, data: st.DataObject
) -> None:
    field = data.draw(st.sampled_from(sorted(changed(manifest))))
    with contextlib.suppress(BundleError):
        open_manifest(keys.root, keys.seal("bundle", changed(manifest, **{field: value})))


# --- rungs that were cut later ----------------------------------------------------------------------------------------


def test_a_recut_rung_opens(keys: Keys, toy: Path, manifest: Manifest) -> None:
    recut, folder = make_recut(toy, keys), BundleFolder(toy, keys.root)
    assert open_recut(keys.root, recut.envelope, manifest, folder.manifest_sha256).rung == recut.entry


@pytest.mark.parametrize("role", ["bundle", "command"])
def test_only_the_recut_key_signs_recut_rungs(keys: Keys, toy: Path, manifest: Manifest, role: Any) -> None:
    folder = BundleFolder(toy, keys.root)
    envelope = keys.seal(role, Recut(bundle=folder.manifest_sha256, rung=make_recut(toy, keys).entry))
    with pytest.raises(TrustError, match="may not sign a recut"):
        open_recut(keys.root, envelope, manifest, folder.manifest_sha256)


def test_a_recut_rung_of_another_bundle_id_or_base_is_refused(keys: Keys, toy: Path, manifest: Manifest) -> None:
    sha, entry = BundleFolder(toy, keys.root).manifest_sha256, make_recut(toy, keys).entry
    recipe = manifest.rungs[0].recipe
    for wrong, why in (
        (Recut(bundle="0" * 64, rung=entry), "was cut from bundle 000000000000"),
        (Recut(bundle=sha, rung=replace(entry, id="r0-fp32")), "has a rung of this id already"),
        (Recut(bundle=sha, rung=replace(entry, base="0" * 64)), "not a fp32 base of this bundle"),
        (Recut(bundle=sha, rung=replace(entry, base=recipe)), "not a fp32 base of this bundle"),
        (Recut(bundle=sha, rung=replace(entry, precision="int8")), "not a int8 base of this bundle"),
    ):
        with pytest.raises(BundleError, match=why):
            open_recut(keys.root, keys.seal("recut", wrong), manifest, sha)


def test_a_signed_manifest_is_no_recut_rung(keys: Keys, manifest: Manifest) -> None:
    with pytest.raises(BundleError, match="kind"):
        open_recut(keys.root, keys.seal("recut", manifest), manifest, "0" * 64)
