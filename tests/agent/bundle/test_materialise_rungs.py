"""The process that writes rungs: all is verified again, files that are right stay, and nothing is written halfway."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.bundle.keys import Keys, create_keys
from secateur_agent.bundle.manifest import FileRef, Golden, Manifest, Metric, Recut, RungEntry, TensorSpec
from secateur_agent.bundle.materialise_rungs import MaterialiseRequest, MaterialiseResult, RecutSource
from secateur_agent.bundle.recipe import Literal, Recipe, Slice, encode_recipe
from secateur_agent.store import Store

WEIGHTS = np.arange(12, dtype="<f4").reshape(4, 3)
PREFIX = b"model:"


def safetensors() -> bytes:
    head = json.dumps({"w": {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, WEIGHTS.nbytes]}}).encode()
    return len(head).to_bytes(8, "little") + head + WEIGHTS.tobytes()


def model(rows: int) -> bytes:
    """The file that the rung with this many rows must become."""
    return PREFIX + WEIGHTS[:rows].tobytes()


class Bundle:
    """A bundle of two rungs (4 and 2 rows of the base) in a device's store, and a rung of 3 rows cut later."""

    def __init__(self, folder: Path) -> None:
        self.keys: Keys = create_keys(folder / "keys")
        self.store = Store(folder / "store")
        self.out = folder / "models"
        self.base = self.store.add(safetensors())
        program = (Literal(len(PREFIX)), Slice("w"))
        first = self.entry("r0-fp32", 4, ops=program, literals=PREFIX)
        second = self.entry("r1-fp32", 2, parent=bytes.fromhex(first.recipe))
        self.manifest = Manifest(
            name="tiny",
            profile="test",
            files=tuple(
                FileRef(path=f"file-{n}", sha256=sha, size=len(self.store.read(sha)))
                for n, sha in enumerate([self.base, first.recipe, second.recipe])
            ),
            inputs=(TensorSpec(name="x", shape=(-1, 3)),),
            outputs=(TensorSpec(name="y", shape=(-1, 4)),),
            metric=Metric(name="accuracy", split="test", labelled=True),
            rungs=(first, second),
        )
        self.sha256 = self.store.add(self.keys.seal("bundle", self.manifest))

    def entry(self, rung: str, rows: int, **recipe: Any) -> RungEntry:
        """Put the recipe of a rung into the store and return the manifest's entry."""
        data = model(rows)
        digest = hashlib.sha256(data)
        fields: dict[str, Any] = {
            "v": 1,
            "sha256": digest.digest(),
            "size": len(data),
            "parent": b"",
            "ops": (),
            "literals": b"",
        }
        fields |= {"ints": (), "slices": (((0, rows), ()),), "vectors": b"", **recipe}
        return RungEntry(
            id=rung,
            precision="fp32",
            recipe=self.store.add(encode_recipe(Recipe(**fields))),
            base=self.base,
            file_sha256=digest.hexdigest(),
            file_bytes=len(data),
            keep={},
            macs=1,
            params=1,
            metric_value=0.5,
            latency_ms=1.0,
            latency_source="roofline",
            memory_mb=1.0,
            energy_mj=1.0,
            golden=Golden(seed=1, low=0.0, high=1.0, outputs=(0.0,), tolerance=0.0),
        )

    def recut(self, rung: RungEntry, role: Any = "recut", of: str = "") -> RecutSource:
        """Sign a rung that was cut later."""
        envelope = self.keys.seal(role, Recut(bundle=of or self.sha256, rung=rung))
        return RecutSource(envelope_b64=base64.b64encode(envelope).decode(), recipe=rung.recipe)

    def request(self, **changes: Any) -> MaterialiseRequest:
        """Ask for all rungs, or as changed."""
        fields: dict[str, Any] = {
            "store": str(self.store.root),
            "manifest_sha256": self.sha256,
            "trust_root": str(self.keys.root_path),
            "out": str(self.out),
        }
        return MaterialiseRequest(**{**fields, **changes})


def run(request: MaterialiseRequest | bytes) -> MaterialiseResult:
    data = request if isinstance(request, bytes) else msgspec.json.encode(request)
    command = [sys.executable, "-m", "secateur_agent.bundle.materialise_rungs"]
    ended = subprocess.run(command, input=data, capture_output=True)
    assert b"Traceback" not in ended.stderr, ended.stderr.decode()
    result = msgspec.json.decode(ended.stdout, type=MaterialiseResult)
    assert (ended.returncode == 0) == result.ok
    assert "\n" not in result.error
    return result


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path)


def test_all_rungs_and_those_cut_later_are_written(bundle: Bundle) -> None:
    parent = bytes.fromhex(bundle.manifest.rungs[0].recipe)
    later = bundle.recut(bundle.entry("r2-fp32", 3, parent=parent))
    result = run(bundle.request(recuts=(later,)))
    assert result == MaterialiseResult(
        ok=True, files={rung: str(bundle.out / f"{rung}.model") for rung in ("r0-fp32", "r1-fp32", "r2-fp32")}
    )
    for rung, rows in (("r0-fp32", 4), ("r1-fp32", 2), ("r2-fp32", 3)):
        assert Path(result.files[rung]).read_bytes() == model(rows)


def test_only_the_rungs_asked_for_are_written(bundle: Bundle) -> None:
    assert list(run(bundle.request(rungs=("r1-fp32",))).files) == ["r1-fp32"]
    assert os.listdir(bundle.out) == ["r1-fp32.model"]


def test_a_file_that_is_right_is_left_alone_and_a_wrong_one_is_mended(bundle: Bundle) -> None:
    first = {rung: Path(path) for rung, path in run(bundle.request()).files.items()}
    first["r1-fp32"].write_bytes(b"damaged")
    before = first["r0-fp32"].stat()
    assert run(bundle.request()).ok
    after = first["r0-fp32"].stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert first["r1-fp32"].read_bytes() == model(2)


def test_an_altered_base_writes_nothing(bundle: Bundle) -> None:
    path = bundle.store.path(bundle.base)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    result = run(bundle.request())
    assert not result.ok
    assert f"blob {bundle.base[:12]}: damaged on disk" in result.error
    assert os.listdir(bundle.out) == []


def test_a_recipe_that_breaks_its_promise_leaves_no_file(bundle: Bundle) -> None:
    entry = bundle.entry("r2-fp32", 3, parent=bytes.fromhex(bundle.manifest.rungs[0].recipe), slices=(((1, 4), ()),))
    result = run(bundle.request(recuts=(bundle.recut(entry),), rungs=("r0-fp32", "r2-fp32")))
    assert not result.ok
    assert "rung r2-fp32: the result is not the file that the recipe promises" in result.error
    assert list(result.files) == ["r0-fp32"]
    assert os.listdir(bundle.out) == ["r0-fp32.model"]


def test_the_online_key_can_ship_no_program_of_its_own(bundle: Bundle) -> None:
    entry = bundle.entry("r2-fp32", 3, ops=(Literal(len(PREFIX)), Slice("w")), literals=PREFIX)
    assert "it has a program of its own" in run(bundle.request(recuts=(bundle.recut(entry),))).error


def test_the_online_key_can_name_no_parent_that_the_bundle_does_not_list(bundle: Bundle) -> None:
    foreign = bundle.entry("r9-fp32", 3, ops=(Literal(5), Slice("w")), literals=b"evil:").recipe
    entry = bundle.entry("r2-fp32", 3, parent=bytes.fromhex(foreign))
    result = run(bundle.request(recuts=(bundle.recut(entry),)))
    assert f"recipe {foreign[:12]}: a parent must be a file of the bundle" in result.error


def test_signatures_are_verified_again(bundle: Bundle, tmp_path: Path) -> None:
    stranger = create_keys(tmp_path / "stranger")
    result = run(bundle.request(trust_root=str(stranger.root_path)))
    assert not result.ok
    assert "may not sign a bundle here" in result.error
    entry = bundle.entry("r2-fp32", 3, parent=bytes.fromhex(bundle.manifest.rungs[0].recipe))
    assert "may not sign a recut here" in run(bundle.request(recuts=(bundle.recut(entry, "bundle"),))).error
    assert "it was cut from bundle" in run(bundle.request(recuts=(bundle.recut(entry, of="0" * 64),))).error
    swapped = RecutSource(envelope_b64=bundle.recut(entry).envelope_b64, recipe=bundle.manifest.rungs[1].recipe)
    assert "its recipe is" in run(bundle.request(recuts=(swapped,))).error
    assert "not base64" in run(bundle.request(recuts=(RecutSource(envelope_b64="ä", recipe=entry.recipe),))).error


def test_an_unknown_rung_or_bundle_or_root_is_one_clear_line(bundle: Bundle) -> None:
    assert "no rung 'r7-fp32' to write; there is r0-fp32, r1-fp32" in run(bundle.request(rungs=("r7-fp32",))).error
    assert "No such file" in run(bundle.request(manifest_sha256="0" * 64)).error
    assert "trust root /nowhere" in run(bundle.request(trust_root="/nowhere")).error


def test_a_folder_that_cannot_be_written_is_one_clear_line(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run(bundle.request(out=str(tmp_path / "file")))
    assert not result.ok
    assert "cannot " in result.error


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"store": 1}'])
def test_a_malformed_request_is_one_clear_line(data: bytes) -> None:
    result = run(data)
    assert not result.ok
    assert result.error.startswith("materialise request: ")


@given(st.binary(max_size=100) | st.text(max_size=60).map(str.encode))
def test_arbitrary_bytes_are_no_request(data: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
        msgspec.json.decode(data, type=MaterialiseRequest)
