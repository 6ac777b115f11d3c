"""Writes the model files of rungs, in a short-lived process: ``python -m secateur_agent.bundle.materialise_rungs``.

Reads a `MaterialiseRequest` from standard input and writes a `MaterialiseResult` to standard output, both JSON. It
verifies every signature and digest again: what is written is what was signed, whatever happened to the disk meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from secateur_agent.bundle.base import read_base
from secateur_agent.bundle.manifest import BundleError, Manifest, RungEntry, open_manifest, open_recut
from secateur_agent.bundle.materialise import materialise
from secateur_agent.bundle.reader import load_recipe
from secateur_agent.bundle.sizes import Base
from secateur_agent.protocol.messages import RungId, Sha256
from secateur_agent.store import Store, StoreError, make_folder
from secateur_agent.store.blobs import file_digest
from secateur_agent.store.files import write_atomic_with
from secateur_agent.trust import TrustError, TrustRoot, load_root


class RecutSource(msgspec.Struct, frozen=True, kw_only=True):
    """A rung that was cut later: its signed envelope in base64, and the digest of its recipe in the store."""

    envelope_b64: str
    recipe: Sha256


class MaterialiseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Write rungs of the bundle ``manifest_sha256``, whose files are in ``store``, to ``out``/<rung>.onnx."""

    store: str
    manifest_sha256: Sha256
    trust_root: str
    out: str
    recuts: Annotated[tuple[RecutSource, ...], Meta(max_length=256)] = ()
    rungs: tuple[RungId, ...] | Literal["all"] = "all"


class MaterialiseResult(msgspec.Struct, frozen=True, kw_only=True):
    """``files`` are rung id → path of those that are right on disk; if not ``ok``, ``error`` says what stopped it."""

    ok: bool
    error: str = ""
    files: dict[str, str] = {}


def materialise_rungs(request: MaterialiseRequest) -> MaterialiseResult:
    """Write the files of rungs; a file that is right already is left alone."""
    files: dict[str, str] = {}
    try:
        store = Store(Path(request.store))
        root = load_root(Path(request.trust_root))
        manifest = open_manifest(root, store.read(request.manifest_sha256))
        recuts = dict(_recut(root, source, manifest, request.manifest_sha256) for source in request.recuts)
        writer = _Writer(store, manifest, Path(request.out))
        for rung in _chosen(request, [*manifest.rungs, *recuts.values()]):
            files[rung.id] = str(writer.write(rung, is_recut=rung.id in recuts))
    except (BundleError, TrustError, StoreError, OSError) as error:
        return MaterialiseResult(ok=False, error=str(error), files=files)
    return MaterialiseResult(ok=True, files=files)


class _Writer:
    """Writes rungs of one bundle; keeps the bases open, for rungs share them."""

    def __init__(self, store: Store, manifest: Manifest, out: Path) -> None:
        self._store = store
        self._listed = {file.sha256 for file in manifest.files}
        self._bases: dict[str, Base] = {}
        self._out = out
        make_folder(out)

    def write(self, rung: RungEntry, is_recut: bool) -> Path:
        path = self._out / f"{rung.id}.model"
        if _holds(path, rung.file_sha256):
            return path
        recipe = load_recipe(self._store.read(rung.recipe), rung, self._read_listed, must_inherit=is_recut)
        base = self._base(rung.base)
        write_atomic_with(path, lambda file: materialise(recipe, base, file.write, f"rung {rung.id}"))
        return path

    def _read_listed(self, sha256: str) -> bytes:
        if sha256 not in self._listed:
            raise BundleError(f"recipe {sha256[:12]}: a parent must be a file of the bundle, and it is not")
        return self._store.read(sha256)

    def _base(self, sha256: str) -> Base:
        if sha256 not in self._bases:
            self._store.verify(sha256)
            self._bases[sha256] = read_base(self._store.path(sha256))
        return self._bases[sha256]


def _recut(root: TrustRoot, source: RecutSource, manifest: Manifest, manifest_sha256: str) -> tuple[str, RungEntry]:
    try:
        envelope = base64.b64decode(source.envelope_b64, validate=True)
    except (binascii.Error, ValueError):
        raise BundleError("re-cut rung: its envelope is not base64") from None
    rung = open_recut(root, envelope, manifest, manifest_sha256).rung
    if rung.recipe != source.recipe:
        raise BundleError(f"re-cut rung {rung.id}: its recipe is {rung.recipe[:12]}, not {source.recipe[:12]}")
    return rung.id, rung


def _chosen(request: MaterialiseRequest, rungs: Iterable[RungEntry]) -> list[RungEntry]:
    known = {rung.id: rung for rung in rungs}
    if request.rungs == "all":
        return list(known.values())
    for rung_id in request.rungs:
        if rung_id not in known:
            raise BundleError(f"no rung {rung_id!r} to write; there is {', '.join(known)}")
    return [known[rung_id] for rung_id in request.rungs]


def _holds(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return file_digest(file) == sha256
    except OSError:
        return False


def main() -> int:
    """Read a request, write the result; see the module's docstring."""
    try:
        result = materialise_rungs(msgspec.json.decode(sys.stdin.buffer.read(), type=MaterialiseRequest))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        result = MaterialiseResult(ok=False, error=f"materialise request: {error}")
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main())
