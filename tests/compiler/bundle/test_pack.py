"""A bundle folder appears whole or not at all, and only if every rung materialises to what was measured."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.compiler import compiled

from secateur.bundle import pack as module
from secateur.bundle.keys import create_keys
from secateur.bundle.pack import digest, encode_base, pack
from secateur.workspace import load_workspace
from secateur_agent.bundle.manifest import BundleError
from secateur_agent.bundle.reader import BundleFolder
from secateur_agent.trust import TrustError


def content() -> dict[str, Any]:
    """Everything that `pack` takes but folder and keys, from the shared compilation."""
    made = compiled.result().profiles[0]
    manifest = BundleFolder(made.bundle, compiled.keys().root).manifest
    return {
        "name": manifest.name,
        "profile": manifest.profile,
        "files": {file.path: (made.bundle / file.path).read_bytes() for file in manifest.files},
        "rungs": manifest.rungs,
        "inputs": manifest.inputs,
        "outputs": manifest.outputs,
        "metric": manifest.metric,
    }


def test_a_bundle_is_written_and_verified(tmp_path: Path) -> None:
    bundle = pack(tmp_path / "a.bundle", keys=compiled.keys(), **content())
    bundle.verify()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bundle"]
    assert all(digest(bundle.materialise(rung.id)) == rung.file_sha256 for rung in bundle.manifest.rungs)


def test_the_same_content_and_key_give_the_same_manifest(tmp_path: Path) -> None:
    first = pack(tmp_path / "a.bundle", keys=compiled.keys(), **content())
    again = pack(tmp_path / "b.bundle", keys=compiled.keys(), **content())
    assert first.manifest_sha256 == again.manifest_sha256


def test_a_rung_that_materialises_to_something_else_leaves_nothing(tmp_path: Path) -> None:
    wrong = content()
    first, *others = wrong["rungs"]
    wrong["rungs"] = (msgspec.structs.replace(first, file_sha256="0" * 64), *others)
    with pytest.raises(BundleError):
        pack(tmp_path / "a.bundle", keys=compiled.keys(), **wrong)
    assert list(tmp_path.iterdir()) == []


def test_an_altered_base_leaves_nothing(tmp_path: Path) -> None:
    wrong = content()
    name = next(path for path in wrong["files"] if path.startswith("base"))
    wrong["files"] = {**wrong["files"], name: wrong["files"][name][:-1] + b"\x55"}
    with pytest.raises(BundleError):
        pack(tmp_path / "a.bundle", keys=compiled.keys(), **wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", [1, 2])
def test_if_it_cannot_be_put_in_place_the_earlier_bundle_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    before = pack(tmp_path / "a.bundle", keys=compiled.keys(), **content()).manifest_sha256
    real, calls = os.replace, []

    def replace(source: Any, target: Any) -> None:
        calls.append(source)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(module.os, "replace", replace)
    with pytest.raises(BundleError, match="cannot be written: No space left on device"):
        pack(tmp_path / "a.bundle", keys=compiled.keys(), **content())
    monkeypatch.undo()
    assert BundleFolder(tmp_path / "a.bundle", compiled.keys().root).manifest_sha256 == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.bundle"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written") as caught:
        pack(tmp_path / "file" / "a.bundle", keys=compiled.keys(), **content())
    assert "\n" not in str(caught.value)


def test_a_bundle_of_other_keys_is_refused(tmp_path: Path) -> None:
    others = create_keys(tmp_path / "others")
    pack(tmp_path / "a.bundle", keys=others, **content())
    with pytest.raises(TrustError):
        BundleFolder(tmp_path / "a.bundle", compiled.keys().root)


def test_keys_that_are_not_those_of_the_root_cannot_sign(tmp_path: Path) -> None:
    mixed = create_keys(tmp_path / "keys")
    mixed.signing.update(compiled.keys().signing)
    with pytest.raises(TrustError):
        pack(tmp_path / "a.bundle", keys=mixed, **content())
    assert not (tmp_path / "a.bundle").exists()


def test_the_same_tensors_give_the_same_base() -> None:
    _, master, _ = load_workspace(compiled.folder() / "out" / "workspace")
    entry = compiled.result().profiles[0].rungs[0].entry
    assert digest(encode_base(master.base("int8"))) == entry.base
